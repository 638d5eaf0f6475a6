//! Kiln is killed when outputs are in place and that is not told yet, and somebody writes there before the next run: what they wrote is
//! kept.

use crate::support::Project;
use crate::undone::replaced;

#[test]
fn what_was_written_since_is_kept() {
    for (node, path, to, how) in [
        ("dataset", "e", "", ""),
        ("folder", "e/z", "/z", ""),
        ("dataset", "e", "", "in_place = true\n"),
        ("folder", "e/z", "/z", "in_place = true\n"),
    ] {
        for point in ["publish.placed", "publish.remove"] {
            let project = Project::new(&format!(
                "[dataset.s]\npath = \"s\"\n[{node}.e]\npath = \"e\"\ninputs = [\"s\"]\n{how}\
                run = \"cat s >{{{{ output }}}}{to}\"\n"
            ));
            project.write("s", "1\n");
            project.expect(0, &["run"]);
            project.write("s", "2\n");
            let mut command = project.command(&["run"]);
            let killed = command.env("KILN_FAULT", format!("{point}=kill@1")).output().unwrap();
            assert!(!killed.status.success(), "{killed:?}");
            project.settled();
            project.write(path, "mine\n");
            assert!(project.expect(0, &["plan"]).out.contains("build  e"));
            assert_eq!(project.read(path), "mine\n", "a plan changes nothing");
            let said = project.expect(0, &["run"]);
            assert_eq!(replaced(&project), "mine\n", "{point} {node} {how}: {said:?}");
            assert!(said.err.contains("kept in .kiln/replaced/"), "{said:?}");
            assert!(!said.err.contains("moved to its output"), "{said:?}");
            assert_eq!(project.read(path), "2\n");
        }
    }
}
