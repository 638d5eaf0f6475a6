//! Signals that ask the process to end: caught on a thread of their own, so that they are seen whatever else goes on. The
//! first two of a run are its own matter, the third ends the process at once. What a run does about them is not known here.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cause::{Cause, StopSignal};
use crate::exit;
use crate::process::Process;

/// The exit code of a run that was stopped by a signal.
#[must_use]
pub fn code_of(signal: StopSignal) -> u8 {
    match signal {
        StopSignal::Interrupt => exit::INTERRUPTED,
        StopSignal::Terminate => exit::TERMINATED,
        StopSignal::Hangup => exit::HANGUP,
    }
}

/// Says what is behind a SIGTERM, where that is known.
type Sender = Box<dyn Fn() -> Option<Cause> + Send + Sync>;

/// What is still to be done before this signal ends the process.
type Last = Box<dyn Fn(StopSignal) + Send + Sync>;

/// A file that becomes larger than a process may write is an error of that file, and does not end Kiln. The signal is
/// caught, not ignored, so that what is started gets it as ever; what is caught once stays caught.
///
/// # Errors
/// What the system says.
pub fn survive_large_files() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// So many signals are told to a run; the next one ends the process.
const TOLD: u32 = 2;

/// The signals of the process, caught. Until someone [listens](Signals::listen) they end it at once, as they would anyway;
/// they are caught all the same, since the first process of a container would not see them otherwise.
pub struct Signals {
    signals: Option<mpsc::UnboundedReceiver<Cause>>,
    shared: Arc<Shared>,
}

/// What the thread that catches signals has to know.
#[derive(Default)]
struct Shared {
    /// Someone listens.
    wanted: AtomicBool,
    /// A signal ends the process.
    ending: AtomicBool,
    sender: OnceLock<Sender>,
    last: OnceLock<Last>,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("wanted", &self.shared.wanted).finish_non_exhaustive()
    }
}

impl Signals {
    /// Catches signals from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn catch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let os = {
            let _inside = runtime.enter();
            Os::catch()?
        };
        let (to, signals) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let pump = os.pump(to, Arc::clone(&shared));
        std::thread::Builder::new().name("kiln-signals".to_owned()).spawn(move || runtime.block_on(pump))?;
        Ok(Self { signals: Some(signals), shared })
    }

    /// Does this before a signal that nobody listens for yet ends the process.
    pub fn before_end(&self, last: impl Fn(StopSignal) + Send + Sync + 'static) {
        drop(self.shared.last.set(Box::new(last)));
    }

    /// From now on what is behind a SIGTERM is told instead, where `sender` knows it.
    #[must_use]
    pub fn sent_by(self, sender: impl Fn() -> Option<Cause> + Send + Sync + 'static) -> Self {
        drop(self.shared.sender.set(Box::new(sender)));
        self
    }

    /// The next signals, two at most.
    #[must_use]
    pub fn listen(mut self) -> mpsc::UnboundedReceiver<Cause> {
        self.shared.wanted.store(true, Ordering::SeqCst);
        self.signals.take().unwrap_or_else(|| mpsc::unbounded_channel().1)
    }
}

/// What goes wrong because a signal ends the process is not told.
impl Drop for Signals {
    fn drop(&mut self) {
        while self.shared.ending.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

/// The signals of this process.
struct Os {
    interrupt: Signal,
    terminate: Signal,
    /// None where whoever started the process wants it to live on without its terminal (`nohup`).
    hangup: Option<Signal>,
}

impl Os {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    async fn pump(mut self, to: mpsc::UnboundedSender<Cause>, shared: Arc<Shared>) {
        let mut told = 0;
        loop {
            let signal = tokio::select! {
                Some(()) = self.interrupt.recv() => StopSignal::Interrupt,
                Some(()) = self.terminate.recv() => StopSignal::Terminate,
                Some(()) = next(self.hangup.as_mut()) => StopSignal::Hangup,
                else => return,
            };
            let code = code_of(signal);
            if !shared.wanted.load(Ordering::SeqCst) {
                shared.ending.store(true, Ordering::SeqCst);
                end_children();
                shared.last.get().into_iter().for_each(|last| last(signal));
                end(code);
            }
            let sender = shared.sender.get().filter(|_| signal == StopSignal::Terminate);
            let cause = sender.and_then(|sender| sender()).unwrap_or(Cause::Signal { signal });
            if told == TOLD || to.send(cause).is_err() {
                end(code);
            }
            told += 1;
        }
    }
}

async fn next(signal: Option<&mut Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => None,
    }
}

/// Before a run only commands that look at things were started; none of them is to outlive us.
fn end_children() {
    for child in Process::this().descendants() {
        if let Err(error) = child.signal(rustix::process::Signal::KILL) {
            tracing::warn!(%error, pid = child.pid, "a process could not be ended");
        }
    }
}

/// The store takes no harm: what is not committed has not happened.
#[expect(clippy::disallowed_methods, reason = "there is nothing more to wait for")]
fn end(code: u8) {
    std::process::exit(i32::from(code));
}

/// Whether the process was started with SIGHUP ignored. Where that cannot be seen it was not.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 != 0) // SIGHUP is signal 1, the first bit
}
