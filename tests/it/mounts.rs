//! Outputs where something is mounted: behind a mount of the same file system, at a mount, and around one.

use crate::space::{in_space, is_there};
use crate::support::Project;

/// Both are of one file system, but nothing can be renamed from one to the other.
#[test]
fn outputs_behind_another_mount_of_the_same_file_system_are_built() {
    if !is_there() {
        return;
    }
    let make = "inputs = [\"s\"]\nrun = \"cat s >{{ output }}\"\n";
    let project = Project::new(&format!(
        "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"build/a\"\n{make}[dataset.p]\npath = \"build/p\"\nin_place = true\n{make}\
         [folder.d]\npath = \"build/d\"\n{}",
        make.replace("output }}", "output }}/x")
    ));
    let script = "mkdir real build; mount --bind real build; echo mine >build/a; echo mine >build/p\n\
        for n in 1 2; do echo $n >s; \"$KILN\" run -k 2>&1; echo \"$? $(cat build/a build/p build/d/x | tr -d '\\n')\"; done\n\
        cat build/.a.kiln-replaced-* build/.p.kiln-replaced-*; ls build";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("\n0 111\n") && said.contains("\n0 222\n"), "{said}");
    assert!(said.ends_with("mine\nmine\na\nd\np\n"), "{said}");
}

#[test]
fn what_is_mounted_where_an_output_belongs_is_refused_beforehand() {
    if !is_there() {
        return;
    }
    let project = Project::new("[folder.d]\npath = \"o/d\"\nrun = \"touch ran; echo 1 >{{ output }}/x\"\n");
    let script = "mkdir -p o/d real; mount --bind real o/d; \"$KILN\" plan 2>&1; echo $?; \"$KILN\" run 2>&1; echo $?";
    let said = in_space(&project, &["--mount"], script).out;
    assert_eq!(said.matches("o/d is where something is mounted, and that cannot be replaced").count(), 2, "{said}");
    assert!(said.matches("\n2\n").count() == 2 && !project.exists("ran"), "{said}");
}

/// What a recipe has mounted in its output is not Kiln's to remove with that.
#[test]
fn what_is_mounted_in_an_output_is_not_removed_with_it() {
    if !is_there() {
        return;
    }
    let project = Project::new(
        "[dataset.s]\npath = \"s\"\n[folder.d]\npath = \"o/d\"\ninputs = [\"s\"]\n\
         run = \"mkdir {{ output }}/m; [ -e done ] || mount --bind mine {{ output }}/m; cat s >{{ output }}/x\"\n",
    );
    project.write("mine/f", "precious");
    let script = "echo 1 >s; \"$KILN\" run 2>&1; echo \"first $?\"; touch done; echo 2 >s; \"$KILN\" run 2>&1\n\
        echo \"second $? $(cat o/d/x mine/f)\"; umount .kiln/staging/p/*/.*/d/m; \"$KILN\" run 2>&1; echo \"last $?\"\n\
        ls .kiln/staging";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("first 0\n") && said.contains("second 0 2\nprecious\n"), "{said}");
    assert!(said.contains("/d/m is not removed, for something is mounted there"), "{said}");
    assert!(said.ends_with("last 0\n"), "{said}");
}

/// As in the image of a container: what is in it can be replaced, but the system moves no folder of it.
#[test]
fn outputs_in_a_lower_layer_are_replaced() {
    if !is_there() {
        return;
    }
    let text = "[dataset.s]\npath = \"s\"\n[folder.d]\npath = \"o/d\"\ninputs = [\"s\"]\nrun = \"cp s {{ output }}/x\"\n\
        [folder.p]\npath = \"o/p\"\ninputs = [\"s\"]\nin_place = true\nrun = \"[ ! -e bad ]; cp s {{ output }}/x\"\n";
    let project = Project::new(text);
    let script = "mkdir t; mount -t tmpfs none t; cd t; mkdir -p low up work m; cp ../pipeline.toml low; echo 1 >low/s\n\
        layer() { mount -t overlay -o userxattr,lowerdir=$1,upperdir=$2,workdir=work none m && cd m; }\n\
        (cd low; \"$KILN\" run 2>&1); layer low up; echo 2 >s; touch bad; \"$KILN\" run -k 2>&1\n\
        echo \"first $? $(cat o/d/x o/p/x | tr '\\n' ' ')\"; rm bad; \"$KILN\" run 2>&1\n\
        echo \"second $? $(cat o/d/x o/p/x | tr '\\n' ' ')\"; cd ..; umount m; mv up low2; rm -rf work; mkdir up work\n\
        layer low2:low up; echo 3 >s; KILN_FAULT=swap.third=full \"$KILN\" run d 2>&1\n\
        echo \"third $? $(cat o/d/x)\"; \"$KILN\" run 2>&1\n\
        echo \"last $? $(cat o/d/x o/p/x | tr '\\n' ' ')\"; find .kiln/staging/p .kiln/replaced -mindepth 1; ls -A o";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("\nfirst 1 2 1 \n") && said.contains("\nsecond 0 2 2 \n"), "{said}");
    let third = if cfg!(feature = "failpoints") { "\nthird 1 2\n" } else { "\nthird 0 3\n" };
    assert!(said.contains(third), "{said}");
    assert!(said.ends_with("\nlast 0 3 3 \nd\np\n"), "{said}");
}
