//! What changes late: while Kiln looks at it, or between a run that was killed and the next one. And what such a run leaves beside
//! outputs on another file system.

use crate::support::Project;

/// What was about to be put in place is not put over what the file calls a source by now, nor where it says nothing.
#[cfg(feature = "failpoints")]
#[test]
fn what_the_file_does_not_say_any_more_is_not_put_in_place() {
    let other = "[task.other]\nrun = 'true'\n";
    for (now, step) in [
        (format!("[dataset.o]\npath = \"o\"\n{other}"), "o"),
        (format!("[dataset.o]\npath = \"p\"\nrun = 'echo 2 >{{{{ output }}}}'\n{other}"), "o"),
        (other.to_owned(), "o"),
    ] {
        let project = Project::new(&format!("[dataset.o]\npath = \"o\"\nrun = 'echo 1 >{{{{ output }}}}'\n{other}"));
        let output = project.command(&["run", "o"]).env("KILN_FAULT", "publish.place=kill@1").output().unwrap();
        assert!(!output.status.success() && !project.exists("o"));
        project.write("o", "mine\n");
        project.pipeline(&now);
        let plan = project.expect(0, &["plan"]);
        assert!(!format!("{plan:?}").contains("puts it there"), "{plan:?}");
        let said = project.expect(0, &["run", "other"]).err;
        let why = format!("o could not be put in place: the file does not say any more that `{step}` makes it\n");
        assert!(said.contains(&why), "{said}");
        assert_eq!(project.read("o"), "mine\n");
        assert!(!project.exists(".kiln/replaced") || now == other || now.contains("path = \"o\""), "{said}");
    }
}
