//! Disks that are full, and files that may not become larger, for real: nothing more starts, nothing is told that is not
//! kept, and with room again the next run goes on.

use crate::checker::{after_all, after_death, change, project};
use crate::output::in_shell;
use crate::space::{as_anybody, in_space, is_there};
use crate::support::Project;

#[test]
fn wherever_files_may_not_become_larger_the_run_stops_in_order() {
    // In blocks of 1 KiB: the first ones do not suffice for a store, the last one for all.
    for blocks in [0, 1, 4, 16, 32, 48, 60, 68, 80, 100, 10_000] {
        let project = project();
        change(&project, 1);
        let said = in_shell(&project, &format!("ulimit -f {blocks}; exec \"$0\" run -j2 --events -"));
        match said.code {
            0 => assert!(blocks > 100, "{blocks}"),
            // A recipe may not write either.
            1 => {}
            3 => assert!(said.err.contains("/.kiln"), "{blocks}: {said:?}"),
            code => panic!("{blocks}: {code}: {said:?}"),
        }
        assert_eq!(said.code == 0, blocks == 10_000, "{blocks}: {said:?}");
        after_death(&project, &said.out);
        project.expect(0, &["run", "-j2"]);
        after_all(&project);
    }
}

/// Builds `ok`, fills a small disk with `fill`, and then has room again. `late` is never started on the full disk.
const SMALL: &str = r#"
[dataset.ok]
path = "out/ok"
run = 'echo ok >{{ output }}'
[task.fill]
inputs = ["ok"]
run = 'FILL'
[dataset.late]
path = "out/late"
inputs = ["ok"]
run = 'echo late >>told; echo late >{{ output }}'
"#;

/// What is done with it: prints exit codes, and what was said.
const SCRIPT: &str = r#"
mkdir disk && mount -t tmpfs -o size=1m none disk && cp pipeline.toml disk && cd disk
"$KILN" run ok >/dev/null 2>&1; echo "ok $?"
"$KILN" run fill late -j1 --keep-going >../out.txt 2>../err.txt; echo "full $?"
rm -rf fill .kiln/logs; "$KILN" jobs show last; "$KILN" jobs list --limit 1; echo "listed"; cat ../out.txt ../err.txt; echo "told $(cat told 2>/dev/null)"
"$KILN" run late 2>&1; echo "room $?"
"$KILN" jobs list
"#;

fn small(fill: &str) -> Option<String> {
    if !is_there() {
        return None;
    }
    let project = Project::new(&SMALL.replace("FILL", fill));
    let said = in_space(&project, &["--mount"], SCRIPT);
    assert!(said.out.contains("ok 0\n") && said.out.contains("room 0\n"), "{said:?}");
    let (before, _) = said.out.split_once("listed\n").unwrap();
    for told in ["state    FAILED · ", "FAILED  ", "disk is full"] {
        assert!(before.contains(told), "{told}: {said:?}");
    }
    assert!(!said.out.contains("without a last word") && !said.out.contains("killed"), "{said:?}");
    let disk = project.path("disk").canonicalize().unwrap();
    let help = format!("\n  help: no room is left on the disk at {}: free some, then", disk.display());
    assert!(said.out.contains(&help), "{said:?}");
    Some(said.out)
}

#[test]
fn a_store_on_a_full_disk_stops_the_run() {
    let Some(out) = small("head -c 8m /dev/zero >fill || true") else { return };
    assert!(out.contains("full 3\n"), "{out}");
    assert!(out.contains("disk/.kiln/kiln.db: database or disk is full"), "{out}");
    assert!(out.contains("told \n"), "`late` was started: {out}");
}

#[test]
fn a_log_on_a_full_disk_stops_the_run() {
    let Some(out) = small("head -c 8m /dev/zero | tr \"\\0\" x") else { return };
    assert!(out.contains("full 3\n"), "{out}");
    assert!(
        out.contains("/fill.1.log: No space left on device") || out.contains("kiln.db: database or disk is full"),
        "{out}"
    );
    assert!(out.contains("told \n"), "`late` was started: {out}");
}

/// Where the state has room, a full disk of outputs is in the way only of what is built there.
#[test]
fn outputs_on_a_full_disk_of_their_own_fail_as_steps_do() {
    if !is_there() {
        return;
    }
    let text = "[dataset.large]\npath = \"large/it\"\nrun = 'head -c 8m /dev/zero >{{ output }}'\n\
        [dataset.none]\npath = \"none/it\"\nrun = 'echo x >{{ output }}'\n\
        [dataset.here]\npath = \"here\"\nrun = 'echo x >{{ output }}'\n";
    let project = Project::new(text);
    let script = "mkdir large none && mount -t tmpfs -o size=1m x large && mount -t tmpfs -o nr_inodes=1 x none\n\
        \"$KILN\" run -k 2>&1; echo \"full $?\"\n";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("full 1\n") && said.contains("1 built · 2 failed"), "{said}");
    for output in ["large/it", "none/it"] {
        assert!(said.contains(&format!("{output} could not be put in place: No space left on device")), "{said}");
    }
}

/// A disk on which one output has no room is no harm to those that go elsewhere.
#[test]
fn what_has_no_room_is_found_before_anything_is_put_in_place() {
    if !is_there() {
        return;
    }
    let text = "[dataset.size]\npath = \"size\"\n[dataset.here]\npath = \"here\"\n[dataset.small]\npath = \"small/it\"\n\
        [dataset.large]\npath = \"small/large\"\n[recipe.all]\ninputs = [\"size\"]\noutputs = [\"here\", \"small\", \"large\"]\n\
        run = 'cp size {{ outputs.here }}; cp size {{ outputs.small }}; head -c $(cat size) /dev/zero >{{ outputs.large }}'\n";
    let project = Project::new(text);
    let script = "mkdir small && mount -t tmpfs -o size=1m x small\n\
        echo 1k >size; \"$KILN\" run >/dev/null 2>&1; echo \"first $?\"\n\
        echo 8m >size; \"$KILN\" run 2>&1; echo \"full $?\"; echo \"now $(cat here small/it) $(ls -A small)\"\n\
        echo 2k >size; \"$KILN\" run >/dev/null 2>&1; echo \"last $? $(cat here small/it)\"\n";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("first 0\n") && said.contains("full 1\n"), "{said}");
    assert!(said.contains("small/large could not be put in place: No space left on device"), "{said}");
    assert!(said.contains("now 1k\n1k it\nlarge\n"), "{said}");
    assert!(said.contains("last 0 2k\n2k\n"), "{said}");
}

#[test]
fn where_one_output_may_not_be_put_none_is() {
    if !is_there() {
        return;
    }
    let text = "[dataset.n]\npath = \"n\"\n[dataset.x]\npath = \"x\"\n[dataset.y]\npath = \"o/y\"\n\
        [recipe.all]\ninputs = [\"n\"]\noutputs = [\"x\", \"y\"]\n\
        run = 'cp n {{ outputs.x }}; cp n {{ outputs.y }}; if [ $(cat n) = 2 ]; then chmod 555 o; fi'\n";
    let project = Project::new(text);
    let script = "echo 1 >n; \"$KILN\" run >/dev/null 2>&1; echo \"first $?\"\n\
        echo 2 >n; \"$KILN\" run 2>&1; echo \"second $? $(cat x o/y)\"\n\
        chmod 755 o; echo 3 >n; \"$KILN\" run >/dev/null 2>&1; echo \"last $? $(cat x o/y)\"\n";
    let said = as_anybody(&project, script).out;
    assert!(said.contains("first 0\n") && said.contains("o/y could not be put in place: Permission denied"), "{said}");
    assert!(said.contains("second 1 1\n1\n") && said.contains("last 0 3\n3\n"), "{said}");
}

#[test]
fn of_what_is_written_in_place_all_is_new_or_nothing_is() {
    if !is_there() {
        return;
    }
    let text = "[dataset.n]\npath = \"n\"\n[dataset.x]\npath = \"x\"\n[dataset.y]\npath = \"m/y\"\n\
        [recipe.all]\ninputs = [\"n\"]\noutputs = [\"x\", \"y\"]\nin_place = true\n\
        run = 'cp n x; cp n m/y; if [ $(cat n) = 2 ]; then mount -o remount,ro m; fi'\n";
    let project = Project::new(text);
    let script = "mkdir m && mount -t tmpfs -o size=1m x m\n\
        for n in 1 2; do echo $n >n; \"$KILN\" run 2>&1; echo \"run $n: $? $(cat x m/y)\"; done\n\
        mount -o remount,rw m; echo 3 >n; \"$KILN\" run >/dev/null 2>&1; echo \"last $? $(cat x m/y) $(ls -A m)\"\n";
    let said = in_space(&project, &["--mount"], script).out;
    // What cannot be removed is told, and does no harm.
    assert!(said.contains("run 1: 0 1\n1\n") && said.contains("run 2: 0 2\n2\n"), "{said}");
    assert!(said.contains("m/.y.kiln-kept, which is out of date now, could not be removed: "), "{said}");
    assert!(said.contains("last 0 3\n3 y\n"), "{said}");
}

#[test]
fn what_cannot_be_put_back_keeps_no_other_from_it() {
    if !is_there() {
        return;
    }
    let text = "[dataset.n]\npath = \"n\"\n[dataset.x]\npath = \"o/x\"\n[dataset.y]\npath = \"y\"\n\
        [recipe.all]\ninputs = [\"n\"]\noutputs = [\"x\", \"y\"]\nin_place = true\n\
        run = 'cp n o/x; cp n y; if [ $(cat n) = 2 ]; then chmod 555 o; exit 1; fi'\n";
    let project = Project::new(text);
    let script = "echo 1 >n; \"$KILN\" run >/dev/null 2>&1\n\
        echo 2 >n; \"$KILN\" run 2>&1; echo \"failed $? $(cat o/x y)\"; chmod 755 o\n\
        \"$KILN\" plan; echo 1 >n; \"$KILN\" run 2>&1; echo \"last $? $(cat o/x y)\"\n";
    let said = as_anybody(&project, script).out;
    assert!(said.contains("exit 1; and the next run has to tidy up: o/x: Permission denied"), "{said}");
    assert!(said.contains("failed 1 2\n1\n") && said.contains("last 0 1\n1\n"), "{said}");
    assert!(
        said.contains("while `x` was written in place; the next run first puts its last good content back"),
        "{said}"
    );
    assert!(!said.contains("lost   "), "{said}");
}

/// What a step leaves behind that failed is removed when it has ended: then there is room again for what could not be kept.
const LARGE: &str = r#"
[dataset.ok]
path = "out/ok"
run = 'echo ok >{{ output }}'
[dataset.large]
path = "out/large"
inputs = ["ok"]
run = 'head -c 8m /dev/zero >{{ output }} 2>/dev/null'
[dataset.late]
path = "out/late"
inputs = ["large"]
run = 'echo late >{{ output }}'
"#;

#[test]
fn what_could_not_be_kept_is_kept_once_there_is_room_and_reports_are_complete() {
    if !is_there() {
        return;
    }
    let project = Project::new(LARGE);
    let script = "mkdir disk && mount -t tmpfs -o size=1m none disk && cp pipeline.toml disk && cd disk && : >../page\n\
        export GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=$PWD/../page GITHUB_WORKSPACE=$PWD\n\
        \"$KILN\" run -j1 --junit ../j.xml 2>../err.txt >../out.txt; echo \"full $?\"; cat ../out.txt ../err.txt\n\
        \"$KILN\" jobs list; \"$KILN\" plan; \"$KILN\" jobs show last; echo \"left $(ls -A .kiln/staging/p)\"\n";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("full 3\n") || said.contains("full 1\n"), "{said}");
    assert!(said.contains("::error file=pipeline.toml,line=10,title=large"), "{said}");
    assert!(said.contains("(FAILED, ") && !said.contains("ABORTED"), "{said}");
    let report = project.read("j.xml");
    assert!(report.contains("name=\"large\"") && report.ends_with("</testsuites>\n"), "{report}");
    assert!(project.read("page").contains("| large | FAILED | "), "{}", project.read("page"));
    assert!(said.contains("FAILED large") || said.contains("failed: large ("), "{said}");
}

/// Where none comes, they tell what is known all the same.
#[test]
fn reports_elsewhere_are_complete_where_the_disk_stays_full() {
    if !is_there() {
        return;
    }
    let project = Project::new(&SMALL.replace("FILL", "head -c 8m /dev/zero >fill || false"));
    let script = "mkdir disk && mount -t tmpfs -o size=1m none disk && cp pipeline.toml disk && cd disk && : >../page\n\
        \"$KILN\" run ok >/dev/null 2>&1\n\
        export GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=$PWD/../page GITHUB_WORKSPACE=$PWD\n\
        \"$KILN\" run fill late -j1 -k --junit ../j.xml --events ../e.jsonl 2>../err.txt >../out.txt; echo \"full $?\"; cat ../out.txt ../err.txt\n\
        rm fill; \"$KILN\" jobs list --limit 1; \"$KILN\" plan\n";
    let said = in_space(&project, &["--mount"], script).out;
    assert!(said.contains("full 3\n") && said.contains("\n  failed: fill (exit 1: "), "{said}");
    assert!(said.contains("::error file=pipeline.toml,line=10,title=fill"), "{said}");
    assert!(said.contains("(FAILED, ") && !said.contains("ABORTED"), "{said}");
    let report = project.read("j.xml");
    assert!(report.contains("name=\"fill\"") && report.ends_with("</testsuites>\n"), "{report}");
    assert!(project.read("page").contains("| fill | FAILED | "), "{}", project.read("page"));
    assert!(!project.read("e.jsonl").contains("run_ended"), "events are told only when they are kept");
}
