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
