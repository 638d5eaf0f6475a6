//! Which runs are asked for, as a question that an index answers. Asks nothing itself.

use rusqlite::types::Value;

use crate::base::job::{JobId, JobState};
use crate::store::apply::time;

/// The columns of a run, in the order in which rows are read.
pub(super) const RUN: &str =
    "SELECT job, pipeline, state, asked, started, ended, took_ms, targets, engine, mode, by, built, same, failed,
                   stopped, skipped, current, why, flaky FROM runs";

/// Which runs are asked for.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those that were asked for then or later.
    pub since: Option<jiff::Timestamp>,
    /// Only those that were asked for before.
    pub until: Option<jiff::Timestamp>,
    /// Only those of this pipeline.
    pub pipeline: Option<String>,
    /// Only those with one of these steps; an empty list counts as none.
    pub steps: Option<Vec<String>>,
    /// Only those that come behind this one, given by when it was asked for and its id.
    pub behind: Option<(jiff::Timestamp, JobId)>,
    /// At most so many.
    pub limit: Option<u32>,
}

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
            add("state = ?", state.word().to_owned());
        }
        if let Some(since) = self.since {
            add("asked >= ?", time(since));
        }
        if let Some(until) = self.until {
            add("asked < ?", time(until));
        }
        if let Some((asked, job)) = &self.behind {
            add("(asked, job) < (?, ", time(*asked));
            values.push(Value::Text(job.to_string()));
            if let Some(last) = conditions.last_mut() {
                last.push_str("?)");
            }
        }
        if let Some(steps) = &self.steps {
            let marks = vec!["?"; steps.len()].join(", ");
            conditions.push(format!("EXISTS (SELECT 1 FROM steps WHERE steps.job = runs.job AND step IN ({marks}))"));
            values.extend(steps.iter().cloned().map(Value::Text));
        }
        let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        values.push(Value::Integer(self.limit.map_or(-1, i64::from)));
        (format!("{RUN} {filter} ORDER BY asked DESC, job DESC LIMIT ?"), values)
    }
}
