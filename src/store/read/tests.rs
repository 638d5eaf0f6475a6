//! Questions about many runs read few rows: shown by how SQLite goes about them, not by how long it takes.

use rusqlite::StatementStatus;

use super::*;
use crate::plan::record::History as _;

/// A store with so many runs, every tenth failed, none running.
fn store_with(runs: u32) -> (tempfile::TempDir, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let (connection, _) = schema::open_write(dir.path()).unwrap();
    connection
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO runs (job, pipeline, file, engine, mode, targets, state, asked, started, planned, by, pid, host)
             SELECT printf('build_p_%08d', i), 'p' || (i % 3), 'p.toml', 'local', 'smart', '[]',
                    iif(i % 10 = 0, 'FAILED', 'DONE'), strftime('%Y-%m-%dT%H:%M:%fZ', 1.7e9 + 60 * i, 'unixepoch'),
                    strftime('%Y-%m-%dT%H:%M:%fZ', 1.7e9 + 60 * i, 'unixepoch'), 1, 'me', 1, 'here' FROM n",
            [runs],
        )
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    (dir, reader)
}

/// How many steps SQLite's machine takes for a question, and how many rows it sorts or scans.
fn effort(reader: &Reader, filter: &RunFilter) -> (i32, i32) {
    let (sql, values) = filter.question();
    let mut statement = reader.connection.prepare(&sql).unwrap();
    let rows = statement.query_map(rusqlite::params_from_iter(values), super::runs::run_row).unwrap();
    assert_eq!(rows.count(), 20);
    (
        statement.get_status(StatementStatus::VmStep),
        statement.get_status(StatementStatus::Sort) + statement.get_status(StatementStatus::FullscanStep),
    )
}

#[test]
fn twenty_of_many_runs_cost_as_much_as_twenty_of_few() {
    let (_few, few) = store_with(1_000);
    let (_many, many) = store_with(100_000);
    let limit = Some(20);
    let since = few.runs(&RunFilter { limit: Some(900), ..RunFilter::default() }).unwrap().pop().map(|run| run.start);
    let filters = [
        RunFilter { limit, ..RunFilter::default() },
        RunFilter { limit, state: Some(JobState::Failed), ..RunFilter::default() },
        RunFilter { limit, pipeline: Some("p1".to_owned()), ..RunFilter::default() },
        RunFilter { limit, since, ..RunFilter::default() },
        RunFilter { limit, since, state: Some(JobState::Done), ..RunFilter::default() },
    ];
    for filter in filters {
        let (steps, scanned) = effort(&many, &filter);
        assert_eq!((steps, scanned), effort(&few, &filter), "{filter:?}");
        // The rows that are answered are the rows that are read, but for the walk along an index.
        assert!(scanned <= 20, "{filter:?}: {scanned}");
    }
}

#[test]
fn the_last_runs_of_a_step_cost_as_much_among_many_as_among_few() {
    let effort = |runs| {
        let (dir, reader) = store_with(runs);
        let sql = "INSERT INTO steps (job, step, stage, action, state) SELECT job, 'a', 1, 'build', 'built' FROM runs";
        schema::open_write(dir.path()).unwrap().0.execute(sql, []).unwrap();
        let mut statement = reader.connection.prepare(STEP_RUNS).unwrap();
        let jobs = statement.query_map(params!["p1", "a", 5], |row| row.get::<_, String>(0)).unwrap();
        let jobs: Vec<String> = jobs.map(Result::unwrap).collect();
        assert!(jobs.len() == 5 && jobs.is_sorted_by(|one, next| one > next), "{jobs:?}");
        (statement.get_status(StatementStatus::VmStep), statement.get_status(StatementStatus::Sort))
    };
    assert_eq!(effort(10_000), effort(100));
}

/// Were all that other pipelines have built looked through for each, this would take hours, and the time limit of tests ends it.
#[test]
fn very_many_outputs_are_asked_whether_others_have_built_in_them() {
    const MANY: i64 = 100_000;
    let (dir, reader) = store_with(1);
    let sql = "INSERT INTO keys (pipeline, step, key, built_at, job, outputs, parts)
               VALUES ('q', 's', '', '', '', (WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               SELECT json_group_array(json_object('path', 'o/' || i || '/x')) FROM n), '{}')";
    schema::open_write(dir.path()).unwrap().0.execute(sql, [MANY]).unwrap();
    let history = reader.history("p", None).unwrap();
    for i in 0..MANY {
        assert!(history.others_in(&format!("o/{i}")));
        assert!(!history.others_in(&format!("o/{i}/")) && !history.others_in(&format!("p/{i}")));
    }
    assert!(history.others_in("o") && !history.others_in("o/1/x"));
}

#[test]
fn a_part_of_an_id_is_looked_for_in_an_index() {
    let (_dir, reader) = store_with(1_000);
    let found = reader.find_run("0777").unwrap();
    assert_eq!(found.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["build_p_00000777"]);
    let plan = "EXPLAIN QUERY PLAN SELECT job FROM runs WHERE instr(job, 'x') > 0";
    let plan: String = reader.connection.query_row(plan, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("COVERING INDEX"), "{plan}");
}
