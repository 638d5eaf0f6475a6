//! The store as a user sees it: with the `sqlite3` program, moved elsewhere, spoiled.

use std::process::Command;

use crate::space::{as_anybody, is_there};
use crate::support::{Project, started};

const PIPELINE: &str = "[dataset.src]\npath = \"src\"\n\
    [dataset.a]\npath = \"build/a\"\ninputs = [\"src\"]\nrun = 'cat {{ inputs.src }} >{{ output }}'\nenv = { STAGE = \"dev\" }\n\
    [dataset.b]\npath = \"build/b\"\ninputs = [\"a\"]\nrun = 'if [ -e fail ]; then exit 3; fi; wc -l <{{ inputs.a }} >{{ output }}'\n\
    [dataset.c]\npath = \"build/c\"\ninputs = [\"b\"]\nrun = 'cat {{ inputs.b }} >{{ output }}'\n";

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("src", "one\n");
    project
}

/// What `sqlite3` prints for a question.
#[track_caller]
fn ask(project: &Project, sql: &str) -> String {
    let output = Command::new("sqlite3").arg("-readonly").arg(project.path(".kiln/kiln.db")).arg(sql).output().unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_user_can_ask_with_sqlite3() {
    let project = project();
    project.write("fail", "");
    project.expect(1, &["run"]);
    std::fs::remove_file(project.path("fail")).unwrap();
    project.expect(0, &["run"]);
    project.write("src", "two\n");
    project.expect(0, &["run", "+b"]);
    let tables = ask(&project, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    assert_eq!(tables, "digests\ndurations\nevents\nkeys\nnotes\npublishing\nremote\nruns\nsteps\n");
    let runs =
        "SELECT state, mode, targets, planned, built, same, failed, skipped, current, why FROM runs ORDER BY started";
    insta::assert_snapshot!(ask(&project, runs), @r#"
    FAILED|smart|[]|3|1|0|1|1|0|b: exit 3
    DONE|smart|[]|2|2|0|0|0|1|
    DONE|smart|["+b"]|2|1|1|0|0|0|
    "#);
    let steps =
        "SELECT runs.state, step, stage, action, steps.state, attempt, steps.why FROM runs JOIN steps USING (job)
                 ORDER BY started, stage";
    insta::assert_snapshot!(ask(&project, steps), @"
    FAILED|a|1|build|built|1|
    FAILED|b|2|build|failed|1|exit 3
    FAILED|c|3|build|skipped|0|b failed
    DONE|b|2|build|built|1|
    DONE|c|3|build|built|1|
    DONE|a|1|build|built|1|
    DONE|b|2|maybe|same|1|
    ");
    let last = "SELECT step, length(key), json_extract(outputs, '$[0].path'), json_extract(parts, '$.env:STAGE'), runs.state,
                       durations.ms IS NOT NULL FROM keys JOIN runs USING (job) LEFT JOIN durations USING (step) ORDER BY step";
    insta::assert_snapshot!(ask(&project, last), @"
    a|64|build/a|dev|DONE|1
    b|64|build/b||DONE|1
    c|64|build/c||DONE|1
    ");
    let slow = "SELECT count(*) FROM steps WHERE took_ms >= 0 AND began_ms >= 0 AND log IS NOT NULL";
    assert_eq!(ask(&project, slow), "6\n");
    let events = "SELECT type, count(*) FROM events GROUP BY type ORDER BY type";
    insta::assert_snapshot!(ask(&project, events), @"
    run_ended|3
    run_started|3
    step_ended|6
    step_publishing|5
    step_skipped|1
    step_started|6
    ");
    assert_eq!(ask(&project, "SELECT path FROM digests ORDER BY path"), "build/a\nbuild/b\nbuild/c\nsrc\n");
    assert_eq!(ask(&project, "PRAGMA integrity_check"), "ok\n");
    let age = "SELECT julianday('now') - julianday(started) BETWEEN 0 AND 1 FROM runs";
    assert_eq!(ask(&project, age), "1\n1\n1\n", "times are such that SQLite understands them");
}

#[test]
fn up_to_date_steps_are_a_count() {
    let project = project();
    project.expect(0, &["run"]);
    project.expect(0, &["run"]);
    let last =
        "SELECT planned, current, (SELECT count(*) FROM steps WHERE steps.job = runs.job) FROM runs ORDER BY started";
    assert_eq!(ask(&project, last), "3|0|3\n0|3|0\n");
}

#[test]
fn the_state_may_lie_elsewhere() {
    let project = project();
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_str().unwrap();
    let run = ["--state", folder, "run", "--events", "-"];
    assert_eq!(started(&project.expect(0, &run).out), ["a", "b", "c"]);
    assert!(state.path().join("kiln.db").exists() && !project.exists(".kiln/kiln.db"));
    assert_eq!(started(&project.expect(0, &run).out), [] as [&str; 0]);
    // A fresh clone over the same state.
    let clone = self::project();
    for name in ["a", "b", "c"] {
        clone.write(&format!("build/{name}"), project.read(&format!("build/{name}")));
    }
    assert_eq!(started(&clone.expect(0, &run).out), [] as [&str; 0]);
    // Without that state nothing is known.
    assert_eq!(started(&clone.expect(0, &["run", "--events", "-"]).out), ["a", "b", "c"]);
}

#[test]
fn a_spoiled_store_is_told_and_left_alone() {
    let project = project();
    project.write(".kiln/kiln.db", "all the same to me");
    for arguments in [&["run"][..], &["plan"], &["jobs", "list"]] {
        let said = project.expect(3, arguments);
        assert!(said.err.contains("`kiln gc --recover` moves it aside"), "{}", said.err);
    }
    assert_eq!(project.read(".kiln/kiln.db"), "all the same to me");
    assert!(!project.exists("build"));
}

#[test]
fn a_history_of_nothing_beside_logs_of_runs_is_told() {
    let project = project();
    project.write("fail", "");
    project.expect(1, &["run"]);
    assert!(std::fs::read_dir(project.path(".kiln/logs")).unwrap().count() > 0);
    for file in ["kiln.db-wal", "kiln.db-shm"] {
        drop(std::fs::remove_file(project.path(&format!(".kiln/{file}"))));
    }
    project.write(".kiln/kiln.db", "");
    for arguments in [&["run"][..], &["plan"], &["jobs", "list"], &["why", "a"]] {
        let said = project.expect(3, arguments).err;
        assert!(said.contains("it is empty, and there are logs of runs") && said.contains("gc --recover"), "{said}");
    }
    project.expect(0, &["gc", "--recover"]);
    std::fs::remove_file(project.path("fail")).unwrap();
    project.expect(0, &["run"]);
    // Without them it is a new one, whose maker died.
    let project = self::project();
    project.write(".kiln/kiln.db", "");
    project.expect(0, &["run"]);
}

#[test]
fn a_history_that_nobody_may_look_at_is_not_an_empty_one() {
    if !is_there() {
        return;
    }
    let project = project();
    project.expect(0, &["run"]);
    let commands = ["jobs list", "jobs running", "jobs show last", "why a", "plan", "gc -n", "gc --recover", "run"];
    for command in commands {
        let said =
            as_anybody(&project, &format!("chmod 0 .kiln; \"$KILN\" {command}; code=$?; chmod 755 .kiln; exit $code"));
        assert!(
            said.code == 3 && said.err.contains(".kiln") && said.err.contains("Permission denied"),
            "{command}: {said:?}"
        );
        assert_eq!(said.out, "", "{command}");
    }
    project.expect(0, &["plan", "--check"]);
}

#[test]
fn a_damaged_history_is_moved_aside_and_what_is_there_need_not_be_built_again() {
    let project = project();
    project.expect(0, &["run"]);
    assert_eq!(project.expect(0, &["gc", "--recover"]).out, "the history is sound: nothing was moved\n");
    let mut bytes = std::fs::read(project.path(".kiln/kiln.db")).unwrap();
    bytes[8_192..16_384].fill(7);
    project.write(".kiln/kiln.db", &bytes);
    let logs = || std::fs::read_dir(project.path(".kiln/logs")).unwrap().count();
    for arguments in [&["run"][..], &["gc"], &["jobs", "show", "last"]] {
        let said = project.expect(3, arguments);
        assert!(said.err.contains("`kiln gc --recover` moves it aside"), "{arguments:?}: {}", said.err);
        assert!(said.err.contains("what steps printed stays in "), "{}", said.err);
    }
    let steady = |text: &str| {
        regex::Regex::new(r"damaged-[-0-9T.]+\.db").unwrap().replace_all(text, "damaged-NOW.db").into_owned()
    };
    let dry = steady(&project.expect(0, &["gc", "--recover", "--dry-run"]).out);
    insta::assert_snapshot!(dry, @"
    the history is damaged: Tree 2 page 2: btreeInitPage() returns error code 11
    would move it to .kiln/kiln.damaged-NOW.db
    a new history would begin; what steps printed stays in .kiln/logs
    the next run builds everything again, unless `kiln adopt` takes what is there as built
    ");
    assert!(std::fs::read(project.path(".kiln/kiln.db")).unwrap() == bytes);
    let said = steady(&project.expect(0, &["gc", "--recover"]).out);
    insta::assert_snapshot!(said, @"
    the history is damaged: Tree 2 page 2: btreeInitPage() returns error code 11
    moved it to .kiln/kiln.damaged-NOW.db
    a new history begins; what steps printed stays in .kiln/logs
    the next run builds everything again, unless `kiln adopt` takes what is there as built
    ");
    let aside = std::fs::read_dir(project.path(".kiln")).unwrap().flatten();
    let aside = aside
        .map(|file| file.path())
        .find(|path| path.display().to_string().ends_with(".db") && !path.ends_with("kiln.db"))
        .unwrap();
    assert!(std::fs::read(aside).unwrap() == bytes, "what was moved is what there was");
    assert_eq!(logs(), 1, "logs stay");
    project.expect(0, &["gc"]);
    assert_eq!(logs(), 1, "logs stay, although no history has their run");
    project.expect(1, &["plan", "--check"]);
    project.expect(0, &["adopt"]);
    project.expect(0, &["plan", "--check"]);
}

#[test]
fn jobs_of_one_millisecond_have_ids_of_their_own() {
    let project = project();
    project.expect(0, &["run"]);
    // All ids of the next seconds are taken.
    let now = jiff::Timestamp::now();
    let id = |ms: i64| {
        let at = now + jiff::SignedDuration::from_millis(ms);
        format!("build_p_{}", at.strftime("%Y-%m-%dT%H-%M-%S.%3f"))
    };
    let ids: Vec<_> = (0..5_000).map(|ms| format!("('{}')", id(ms))).collect();
    let sql = format!(
        "INSERT INTO runs (job, pipeline, file, engine, mode, targets, state, asked, started, planned, by, pid, host)
         SELECT column1, 'q', '', '', '', '[]', 'DONE', '2000', '2000', 0, '', 0, '' FROM (VALUES {})",
        ids.join(", ")
    );
    project.write("taken.sql", sql);
    let read = format!(".read {}", project.path("taken.sql").display());
    assert!(Command::new("sqlite3").arg(project.path(".kiln/kiln.db")).arg(read).status().unwrap().success());
    project.expect(0, &["run"]);
    let last = ask(&project, "SELECT max(job) FROM runs");
    assert!(last.trim() > id(4_999).as_str(), "{last}");
}

/// The log of what SQLite was about to take back is beside it, and who only reads cannot do that.
#[test]
fn a_history_that_was_being_written_without_a_wal_is_mended_by_the_next_run() {
    let project = project();
    project.expect(0, &["run"]);
    let path = |end: &str| project.path(&format!(".kiln/kiln.db{end}"));
    let database = rusqlite::Connection::open(path("")).unwrap();
    database.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    database
        .execute_batch(
            "PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE events SET type = 'x' || type; UPDATE runs SET by = 'x'",
        )
        .unwrap();
    let torn = ["", "-journal"].map(|end| (end, std::fs::read(path(end)).unwrap()));
    drop(database);
    for (end, bytes) in torn {
        std::fs::write(path(end), bytes).unwrap();
    }
    for command in [&["plan"][..], &["jobs", "list"], &["why", "a"]] {
        let said = project.expect(3, command).err;
        assert!(said.contains("a run was killed while it wrote there; the next `kiln run` mends that"), "{said}");
    }
    project.expect(0, &["run"]);
    project.expect(0, &["plan", "--check"]);
}
