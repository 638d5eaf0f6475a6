//! The outputs of a step are put in place all together: where one of them cannot be, all others are as they were.

use std::fs;

use crate::support::{Project, Said};

/// A step with four outputs: a file, a folder, one that was taken away since it was built, and one at which somebody puts
/// something while it is built.
fn four() -> Project {
    let project = Project::new(
        "[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"o/a\"\n[folder.d]\npath = \"o/d\"\n[dataset.n]\npath = \"o/n\"\n\
         [dataset.z]\npath = \"o/z\"\n[recipe.r]\ninputs = [\"s\"]\noutputs = [\"a\", \"d\", \"n\", \"z\"]\n\
         run = '''cp s {{ outputs.a }}; cp s {{ outputs.d }}/x; cp s {{ outputs.n }}; cp s {{ outputs.z }}\n\
         [ ! -e edit ] || echo mine >o/z'''\n",
    );
    project.write("s", "1\n");
    project.expect(0, &["run"]);
    fs::remove_file(project.path("o/n")).unwrap();
    project.write("s", "2\n");
    project.write("edit", "");
    // Nothing can be kept as long as this is no folder.
    project.write(".kiln/replaced", "");
    project
}

/// What stands at the four.
fn standing(project: &Project) -> [Option<String>; 4] {
    ["a", "d/x", "n", "z"].map(|path| fs::read_to_string(project.path(&format!("o/{path}"))).ok())
}

fn texts(all: [&str; 4]) -> [Option<String>; 4] {
    all.map(|text| (!text.is_empty()).then(|| format!("{text}\n")))
}

/// With the way free, all is put in place, and what was somebody's is kept.
fn goes_on(project: &Project) -> Said {
    fs::remove_file(project.path(".kiln/replaced")).unwrap();
    fs::remove_file(project.path("edit")).unwrap();
    let said = project.expect(0, &["run"]);
    assert_eq!(standing(project), texts(["2", "2", "2", "2"]), "{said:?}");
    assert!(project.expect(0, &["plan", "--check"]).out.contains("1 up to date"));
    said
}

#[test]
fn where_one_output_cannot_be_put_in_place_no_other_is() {
    let project = four();
    let said = project.expect(1, &["run"]).out;
    assert!(said.contains("o/z could not be put in place: ") && !said.contains("already"), "{said}");
    assert_eq!(standing(&project), texts(["1", "1", "", "mine"]));
    goes_on(&project);
    assert!(!project.exists(".kiln/replaced"), "what was somebody's is as it was when the next run was planned");
}

/// Of what is written in place what was set aside is put back, also where it was about to be kept.
#[cfg(feature = "failpoints")]
#[test]
fn what_was_written_in_place_is_put_back_where_one_of_it_cannot_be_kept() {
    let project = Project::new(
        "[dataset.a]\npath = \"a\"\n[dataset.b]\npath = \"b\"\n[recipe.r]\noutputs = [\"a\", \"b\"]\nin_place = true\n\
         run = 'echo new >a; echo new >b'\n",
    );
    let both = || ["a", "b"].map(|path| project.read(path));
    project.write("a", "mine a\n");
    project.write("b", "mine b\n");
    let output = project.command(&["run"]).env("KILN_FAULT", "publish.keep=full@2").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("; what stood there is put back"), "{said}");
    assert!(!said.contains("what was at"), "{said}");
    assert_eq!(both(), ["mine a\n", "mine b\n"]);
    project.expect(0, &["run"]);
    assert_eq!(both(), ["new\n", "new\n"]);
    let kept = crate::replaced::kept(&project);
    assert_eq!(["a", "b"].map(|path| project.read(&format!("{kept}/{path}"))), ["mine a\n", "mine b\n"]);
}

/// Kiln dies while it undoes, or cannot: nothing is lost, and the next run goes on by itself.
#[cfg(feature = "failpoints")]
#[test]
fn whatever_becomes_of_the_undoing_nothing_is_lost() {
    for how in ["kill", "full"] {
        for time in 1..=3 {
            let project = four();
            let mut command = project.command(&["run"]);
            let output = command.env("KILN_FAULT", format!("publish.undo={how}@{time}")).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            // The last one that was put in place is the first to go back: `n`, `d`, `a`.
            let still = |n: i32| match (how, n.cmp(&time)) {
                ("kill", std::cmp::Ordering::Less)
                | ("full", std::cmp::Ordering::Less | std::cmp::Ordering::Greater) => "1",
                _ => "2",
            };
            let n = if still(1) == "1" { "" } else { "2" };
            assert_eq!(standing(&project), texts([still(3), still(2), n, "mine"]), "{how} {time}: {said}");
            if how == "full" {
                let path = ["o/n", "o/d", "o/a"][usize::try_from(time).unwrap() - 1];
                assert!(said.contains(&format!("; {path} is in place already: No space left on device")), "{said}");
            }
            goes_on(&project);
        }
    }
}

/// Kiln dies when some of the outputs are in place: the next run puts the others there too.
#[cfg(feature = "failpoints")]
#[test]
fn what_was_begun_is_put_in_place_by_the_next_run() {
    for (fault, then) in [
        ("publish.exchanged=kill@1", ["2", "1", "", "mine"]),
        ("publish.exchanged=kill@2", ["2", "2", "", "mine"]),
        ("publish.place=kill@4", ["2", "2", "2", "mine"]),
        ("publish.kept=kill@1", ["2", "2", "2", ""]),
        ("publish.placed=kill@1", ["2", "2", "2", "2"]),
    ] {
        let project = four();
        fs::remove_file(project.path(".kiln/replaced")).unwrap();
        assert_eq!(project.command(&["run"]).env("KILN_FAULT", fault).output().unwrap().status.code(), None);
        assert_eq!(standing(&project), texts(then), "{fault}");
        fs::remove_file(project.path("edit")).unwrap();
        let said = project.expect(0, &["run"]);
        assert_eq!(standing(&project), texts(["2", "2", "2", "2"]), "{fault}: {said:?}");
        let jobs = fs::read_dir(project.path(".kiln/replaced")).unwrap().map(|job| job.unwrap().path());
        let kept: Vec<_> = jobs.map(|job| fs::read_to_string(job.join("o/z")).unwrap()).collect();
        assert_eq!(kept, ["mine\n"], "{fault}");
        assert!(!project.exists(".kiln/staging/p"), "{fault}");
    }
}
