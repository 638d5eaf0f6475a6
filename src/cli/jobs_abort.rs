//! `kiln jobs abort`: which runs are meant. How they are ended is in `abort.rs`.

use crate::base::job::JobState;
use crate::cli::abort::{Target, abort};
use crate::cli::jobs::History;
use crate::cli::{Context, print};
use crate::session::fail::Fail;
use crate::store::claim::Claim;
use crate::store::filter::RunFilter;
use crate::store::read::RunRow;

impl History {
    /// Ends runs, or all that go on where none is named; none where one that is named is not there.
    pub(super) fn abort(&self, context: &Context, ids: &[String]) -> Result<u8, Fail> {
        let runs = if ids.is_empty() { self.going_on()? } else { self.meant(ids)? };
        if runs.is_empty() {
            print("no run goes on\n")?;
        }
        abort(self.state(), &runs, &context.surroundings.user(), context.site().grace)
    }

    /// The runs that ids mean, each once.
    fn meant(&self, ids: &[String]) -> Result<Vec<Target>, Fail> {
        let mut runs: Vec<Target> = Vec::new();
        let (mut wrong, mut way_out) = (Vec::new(), None);
        for id in ids {
            match self.one(id) {
                Ok(run) if runs.iter().any(|other| other.name == run.name) => {}
                Ok(run) => runs.push(run),
                Err(Fail::Usage(message, help)) => {
                    wrong.push(message);
                    way_out = way_out.or(help);
                }
                Err(other @ (Fail::Mistakes(..) | Fail::Nothing(_) | Fail::Surroundings(_))) => return Err(other),
            }
        }
        if wrong.is_empty() { Ok(runs) } else { Err(Fail::Usage(wrong.join("\nerror: "), way_out)) }
    }

    /// The run that an id means.
    fn one(&self, id: &str) -> Result<Target, Fail> {
        // What was asked for last may wait or be over: what goes on is meant.
        let on = if id == "last" { self.going_on()?.into_iter().next() } else { None };
        on.map_or_else(|| Ok(target(self.find(id)?.1)), Ok)
    }

    /// The runs that go on, also those that are not in the history yet.
    fn going_on(&self) -> Result<Vec<Target>, Fail> {
        let filter = RunFilter { state: Some(JobState::Running), ..RunFilter::default() };
        let mut runs: Vec<_> = self.rows(&filter)?.into_iter().map(target).collect();
        let claims = Claim::all(self.state()).map_err(|error| Fail::because("what goes on", &error))?;
        for (pipeline, _) in claims.into_iter().filter(|(_, claim)| !claim.serves) {
            let counts = self.pipeline.as_ref().is_none_or(|name| *name == pipeline);
            if counts && runs.iter().all(|run| run.pipeline != pipeline) {
                let name = format!("a run of {pipeline} that had not begun");
                runs.push(Target { name, pipeline, state: JobState::Running });
            }
        }
        Ok(runs)
    }
}

fn target(row: RunRow) -> Target {
    Target { name: row.id.to_string(), pipeline: row.pipeline, state: row.state }
}
