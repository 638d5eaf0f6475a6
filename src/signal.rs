//! Signals that ask a run to end. Does not know what is done about them.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit;

/// The names under which signals are told, each with the exit code of a run that it stopped.
pub const NAMES: [(&str, u8); 3] =
    [("Ctrl-C", exit::INTERRUPTED), ("SIGTERM", exit::TERMINATED), ("SIGHUP", exit::HANGUP)];

/// The signals of this process.
pub struct Os {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Os {
    /// Catches the signals from now on. Needs a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Hands every signal on by its name, for as long as someone listens.
    pub async fn pump(mut self, to: mpsc::UnboundedSender<&'static str>) {
        loop {
            let name = tokio::select! {
                Some(()) = self.interrupt.recv() => NAMES[0].0,
                Some(()) = self.terminate.recv() => NAMES[1].0,
                Some(()) = self.hangup.recv() => NAMES[2].0,
                else => return,
            };
            if to.send(name).is_err() {
                return;
            }
        }
    }
}
