//! What later jobs on GitHub are told of a run: lists of names that an `if` can ask. Does not know the environment in which GitHub
//! tells where they go.

use std::io::{self, Write};

use super::api::Reporter;
use crate::event::{Event, Stamped};
use crate::view::{RunView, StepState};

/// Writes `built=`, `changed=` and `failed=`, each with a list of steps in JSON on one line, when the run has ended.
#[derive(Debug)]
pub struct Outputs<W>(pub W);

impl<W: Write> Reporter for Outputs<W> {
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()> {
        if !matches!(event.event, Event::RunEnded(_)) {
            return Ok(());
        }
        let names = |states: &[StepState]| {
            let those = view.steps.iter().filter(|step| states.contains(&step.state));
            serde_json::Value::from_iter(those.map(|step| step.plan.id.as_str()))
        };
        let lines = format!(
            "built={}\nchanged={}\nfailed={}\n",
            names(&[StepState::Built, StepState::Same]),
            names(&[StepState::Built]),
            names(&[StepState::Failed])
        );
        // Nobody has asked for it: no run fails for it.
        if let Err(error) = self.0.write_all(lines.as_bytes()).and_then(|()| self.0.flush()) {
            tracing::warn!("the outputs of the step on GitHub cannot be written: {error}");
        }
        Ok(())
    }

    fn tells_unkept(&self) -> bool {
        true
    }
}
