//! Which runs of the history are asked for, and the question in SQL that finds them. Asks nothing itself.

use std::collections::BTreeSet;

use rusqlite::types::Value;

use crate::base::id::NodeId;
use crate::base::job::{JobId, JobState};
use crate::pipeline::types::Pipeline;
use crate::store::apply::time;
use crate::store::read::RunRow;

/// Which runs are asked for.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those that were asked for then or later.
    pub since: Option<jiff::Timestamp>,
    /// Only those that were asked for before.
    pub until: Option<jiff::Timestamp>,
    /// Only those that were started by this one.
    pub by: Option<String>,
    /// Only those that were started by someone with this in the name.
    pub by_some: Option<String>,
    /// Only those of this pipeline.
    pub pipeline: Option<String>,
    /// Only those about this.
    pub about: Option<About>,
    /// Only those that come behind this one, given by its rank and its id.
    pub behind: Option<(jiff::Timestamp, JobId)>,
    /// Only those that come before this one, and of these the last ones.
    pub ahead: Option<(jiff::Timestamp, JobId)>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Something that runs may be about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The steps that make it: runs that built one of them, or would have.
    pub steps: Vec<String>,
    /// The targets that stand for it: runs that were asked for one of them, or for everything, whatever came of that. A pattern is
    /// not read, nor what was excluded.
    pub targets: Vec<String>,
}

impl About {
    /// What runs are about that are about a node: the step that makes it, and the targets that stand for it.
    #[must_use]
    pub fn node(pipeline: &Pipeline, node: NodeId) -> Self {
        let maker = pipeline.nodes[node].maker.map(|maker| &pipeline.recipes[maker]);
        let made = maker.map_or(vec![node], |maker| maker.outputs.clone());
        let tags =
            made.iter().flat_map(|node| &pipeline.nodes[*node].tags).chain(maker.iter().flat_map(|maker| &maker.tags));
        let mut names: BTreeSet<String> = tags.map(|tag| format!("tag:{tag}")).collect();
        names.extend(made.iter().map(|node| pipeline.nodes[*node].name.clone()));
        names.extend(maker.map(|maker| maker.name.clone()));
        Self { steps: maker.map(|maker| maker.name.clone()).into_iter().collect(), targets: targets(names) }
    }

    /// The same of what the file does not have any more, or of a task.
    #[must_use]
    pub fn gone(name: &str) -> Self {
        Self { steps: vec![name.to_owned()], targets: targets([name.to_owned()].into()) }
    }
}

/// The targets that may stand for one of these.
fn targets(names: BTreeSet<String>) -> Vec<String> {
    let ways = |name: &String| [name.clone(), format!("+{name}"), format!("{name}+"), format!("+{name}+")];
    names.iter().flat_map(ways).collect()
}

/// What bounds the places of runs that were asked for before a time: that time, unless a clock was ahead for some behind it.
const AHEAD: &str = "asked < iif(EXISTS (SELECT 1 FROM runs WHERE started < asked AND asked >= ?), '~', ?)";

impl RunFilter {
    /// The question with its values. It names only what is asked for, so that an index answers it.
    pub(super) fn question(&self) -> (String, Vec<Value>) {
        let mut conditions = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let mut add = |condition: &str, value: String| {
            conditions.push(condition.to_owned());
            values.push(Value::Text(value));
        };
        if let Some(pipeline) = &self.pipeline {
            add("pipeline = ?", pipeline.clone());
        }
        if let Some(state) = self.state {
            // Of two that could answer, the index of who started runs is the one that finds few.
            let condition = if self.by.is_some() { "+state = ?" } else { "state = ?" };
            add(condition, state.word().to_owned());
        }
        if let Some(by) = &self.by {
            add("by = ?", by.clone());
        }
        if let Some(by) = &self.by_some {
            add("instr(by, ?) > 0", by.clone());
        }
        if let Some(since) = self.since {
            // An index finds those by their places, of which each began then or before.
            add("asked >= ?", time(since));
            add("coalesce(started, asked) >= ?", time(since));
        }
        if let Some(until) = self.until {
            // One that a clock put ahead has a place behind its time; mostly there is none, and an index finds the others.
            add(AHEAD, time(until));
            values.push(Value::Text(time(until)));
            conditions.push("min(asked, coalesce(started, asked)) < ?".to_owned());
            values.push(Value::Text(time(until)));
        }
        for (rank, than) in [(&self.behind, "<"), (&self.ahead, ">")] {
            if let Some((asked, job)) = rank {
                conditions.push(format!("(asked, job) {than} (?, ?)"));
                values.extend([time(*asked), job.to_string()].map(Value::Text));
            }
        }
        if let Some(About { steps, targets }) = &self.about {
            let marks = vec!["?"; steps.len()].join(", ");
            let with = format!("EXISTS (SELECT 1 FROM steps WHERE steps.job = runs.job AND step IN ({marks}))");
            // Targets are kept as a list in JSON: with its quotes, a name is no part of another one.
            let named = vec![" OR instr(targets, ?) > 0"; targets.len()].concat();
            conditions.push(format!("({with} OR targets = '[]'{named})"));
            let quoted = targets.iter().map(|target| serde_json::Value::from(target.as_str()).to_string());
            values.extend(steps.iter().cloned().chain(quoted).map(Value::Text));
        }
        let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        values.push(Value::Integer(self.limit.map_or(-1, i64::from)));
        let way = if self.ahead.is_some() { "ASC" } else { "DESC" };
        (format!("{RUN} {filter} ORDER BY asked {way}, job {way} LIMIT ?"), values)
    }
}

impl RunFilter {
    /// The newest first, and no more than are asked for: of those before a rank, the ones that are next to it.
    pub fn put_in_order(&self, rows: &mut Vec<RunRow>) {
        rows.sort_by(|a, b| (b.rank, &b.id).cmp(&(a.rank, &a.id)));
        let most = self.limit.unwrap_or(u32::MAX) as usize;
        if self.ahead.is_some() {
            rows.drain(..rows.len().saturating_sub(most));
        }
        rows.truncate(most);
    }
}

pub(super) const RUN: &str =
    "SELECT job, pipeline, state, asked, started, ended, took_ms, targets, engine, mode, by, built, same, failed,
                   stopped, skipped, current, why, flaky FROM runs";

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::schema::open_write;

    /// A store with so many runs that have ended, of two pipelines, and the events of none.
    fn store(runs: u32) -> (tempfile::TempDir, rusqlite::Connection) {
        let dir = tempfile::tempdir().unwrap();
        let (connection, _) = open_write(dir.path()).unwrap();
        let sql = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
                   INSERT INTO runs (job, pipeline, file, engine, mode, targets, state, asked, started, ended, took_ms, planned, by, pid, host)
                   SELECT printf('build_%06d', i), iif(i % 1000 = 0, 'rare', 'p'), '', 'local', 'smart', '[]', CASE WHEN i % 5000 = 1 THEN 'FAILED' WHEN i % 20000 = 2 THEN 'ABORTED' ELSE 'DONE' END,
                   strftime('%Y-%m-%dT%H:%M:%fZ', 1700000000 + i, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', 1700000000 + i, 'unixepoch'),
                   NULL, 1, 1, iif(i % 5000 = 1, 'API (ci)', 'ana'), 0, '' FROM n";
        connection.execute(sql, [runs]).unwrap();
        let steps =
            "INSERT INTO steps (job, step, stage, action, state) SELECT job, 'orders', 1, 'build', 'built' FROM runs";
        connection.execute(steps, []).unwrap();
        (dir, connection)
    }

    #[test]
    fn an_older_store_is_given_what_came_later() {
        let (dir, connection) = store(10);
        connection.execute_batch("DROP INDEX runs_by").unwrap();
        drop(connection);
        let (connection, _) = open_write(dir.path()).unwrap();
        let filter = RunFilter { pipeline: Some("p".to_owned()), by: Some("ana".to_owned()), ..RunFilter::default() };
        let (sql, values) = filter.question();
        let explain = |row: &rusqlite::Row<'_>| row.get::<_, String>("detail");
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let plan: Vec<String> =
            plan.query_map(rusqlite::params_from_iter(values), explain).unwrap().map(Result::unwrap).collect();
        assert!(plan[0].contains("USING INDEX runs_by"), "{plan:?}");
    }

    /// The runs that are found, and how many instructions of SQLite's machine that took.
    fn ask(connection: &rusqlite::Connection, filter: &RunFilter) -> (Vec<String>, i32) {
        let (sql, values) = filter.question();
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0)).unwrap();
        let found = rows.collect::<Result<Vec<String>, _>>().unwrap();
        assert_eq!(statement.get_status(StatementStatus::Sort), 0, "{sql} sorts");
        assert!(statement.get_status(StatementStatus::FullscanStep) < 50, "{sql} looks at every run");
        (found, statement.get_status(StatementStatus::VmStep))
    }

    #[test]
    fn a_page_of_a_long_list_costs_what_a_page_of_a_short_one_does() {
        let (_short, few) = store(1_000);
        let (_long, many) = store(100_000);
        let at = |secs: i64| Some(jiff::Timestamp::from_second(1_700_000_000 + secs).unwrap());
        let page = RunFilter { limit: Some(50), pipeline: Some("p".to_owned()), ..RunFilter::default() };
        for filter in [
            page.clone(),
            RunFilter { pipeline: None, ..page.clone() },
            RunFilter { since: at(100), until: at(900), ..page.clone() },
            RunFilter { behind: at(500).map(|at| (at, JobId::from_text("build_000500"))), ..page.clone() },
            RunFilter { ahead: at(500).map(|at| (at, JobId::from_text("build_000500"))), ..page.clone() },
            RunFilter { about: Some(About { steps: vec!["orders".to_owned()], ..About::default() }), ..page.clone() },
            RunFilter { about: Some(About { targets: vec!["orders".to_owned()], ..About::default() }), ..page.clone() },
            RunFilter { state: Some(JobState::Done), ..page.clone() },
            RunFilter { by: Some("ana".to_owned()), ..page.clone() },
            RunFilter { by: Some("ana".to_owned()), state: Some(JobState::Done), until: at(900), ..page.clone() },
        ] {
            let ((short, little), (long, much)) = (ask(&few, &filter), ask(&many, &filter));
            assert_eq!((short.len(), long.len()), (50, 50), "{filter:?}");
            assert!(much <= little + little / 10, "{filter:?}: {little} steps, then {much}");
        }
        // What is rare is not looked for among what is frequent.
        for filter in [
            RunFilter { state: Some(JobState::Running), ..page.clone() },
            RunFilter { state: Some(JobState::Aborted), ..page.clone() },
            RunFilter { by: Some("nobody".to_owned()), ..page.clone() },
            RunFilter { by: Some("API (ci)".to_owned()), ..page.clone() },
            RunFilter { by: Some("nobody".to_owned()), state: Some(JobState::Done), since: at(10), ..page.clone() },
            RunFilter { pipeline: Some("rare".to_owned()), ..page },
        ] {
            assert!(ask(&many, &filter).1 < 5_000, "{filter:?}");
        }
    }
}
