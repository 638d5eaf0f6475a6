//! Kiln as the first process of a container: signals do something, and what loses its parent does not pile up.

use crate::processes::fx;
use crate::space::{in_space, is_there};
use crate::support::Project;

/// The script becomes Kiln itself, so that it has the number 1.
const AS_FIRST: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

#[test]
fn signals_end_a_run_that_is_the_first_process() {
    if !is_there() {
        return;
    }
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let project = Project::new(&format!(
            "[task.a]\nrun = 'trap \"echo asked >asked; exit 0\" TERM; kill -{signal} 1; while :; do sleep 0.01; done'\n"
        ));
        let said = in_space(&project, &AS_FIRST, "exec \"$KILN\" run");
        assert_eq!(said.code, code, "{signal}: {said:?}");
        assert_eq!(project.read("asked"), "asked\n", "{signal}: {said:?}");
        assert!(said.out.contains("1 stopped") || said.out.contains("1 built"), "{said:?}");
    }
}

#[test]
fn what_loses_its_parent_is_reaped() {
    if !is_there() {
        return;
    }
    let leave = format!("{} daemon line=x then ghost line=x then line=done", fx().display());
    let count = "grep -l \"^State:.Z\" /proc/[0-9]*/status | wc -l >zombies";
    let project = Project::new(&format!(
        "[task.leave]\nrun = '{leave}'\ntools = {{ x = \"(setsid true & ) ; (setsid true & ) ; echo 1\" }}\n\
         [dataset.ready]\npath = \"ready\"\nrun = 'for i in 1 2 3 4 5 6 7 8; do {leave}; done; echo 1 >{{{{ output }}}}'\n\
         [task.count]\ninputs = [\"ready\"]\nrun = '{count}'\n"
    ));
    let said = in_space(&project, &AS_FIRST, "exec \"$KILN\" run -j1");
    assert_eq!(said.code, 0, "{said:?}");
    let zombies: u32 = project.read("zombies").trim().parse().unwrap();
    // Whatever a probe has left behind belongs to Kiln, which ends soon.
    assert!(zombies <= 2, "{zombies}");
}
