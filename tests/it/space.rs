//! A place of its own for a test: the user is root there, may mount, and has processes of their own. Where the system does
//! not permit that, tests that need it fail, unless `KILN_WITHOUT_NAMESPACES` says that they are to be left out.

use std::process::{Command, Stdio};

use crate::support::{Project, Said};

/// Runs a script of `sh` in the root of a project, in namespaces: `--mount`, `--pid`. The program is `$KILN`.
#[track_caller]
pub(crate) fn in_space(project: &Project, which: &[&str], script: &str) -> Said {
    unshare(project, &[&["--map-root-user"], which].concat(), script)
}

/// Runs a script as somebody to whom the modes of files apply, also where the tests are root: what they own is that one's too.
#[track_caller]
pub(crate) fn as_anybody(project: &Project, script: &str) -> Said {
    unshare(project, &["--user"], script)
}

#[track_caller]
fn unshare(project: &Project, how: &[&str], script: &str) -> Said {
    let mut unshare = Command::new("unshare");
    unshare.args(how).args(["sh", "-c", script]);
    unshare.current_dir(project.path("")).env_clear();
    unshare.envs(project.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    unshare.env("KILN", project.command(&[]).get_program());
    let output = unshare.stdin(Stdio::null()).output().expect("`unshare` of util-linux is there");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Whether there are namespaces; if there have to be, they are.
pub(crate) fn is_there() -> bool {
    let there = Command::new("unshare").args(["--map-root-user", "--mount", "--pid", "--fork", "true"]).output();
    let there = there.is_ok_and(|output| output.status.success());
    let without = std::env::var_os("KILN_WITHOUT_NAMESPACES").is_some();
    assert!(there || without, "no namespaces are permitted here: set KILN_WITHOUT_NAMESPACES=1 to leave this test out");
    there
}
