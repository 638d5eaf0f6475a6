//! Points at which a test makes the program fail or wait: die, panic, stop, or be told that the disk is full. Without the feature
//! `failpoints` nothing of it is there. Does not know what stands at the points.

use std::io;

/// A point that the program has come to.
///
/// # Errors
/// What a test wants to go wrong here.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn fault(_point: &'static str) -> io::Result<()> {
    Ok(())
}

/// A point that the program has come to.
///
/// # Errors
/// What a test wants to go wrong here.
#[cfg(feature = "failpoints")]
pub fn fault(point: &'static str) -> io::Result<()> {
    wanted::fault(point)
}

#[cfg(feature = "failpoints")]
mod wanted {
    use std::fs::File;
    use std::io::{self, Write};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// What is to go wrong: `KILN_FAULT=publish.placed=kill@2` is the second time that this point is come to.
    struct Wanted {
        point: String,
        action: String,
        time: u64,
        times: AtomicU64,
        /// `KILN_FAULT_GATE` is a named pipe by which a test hears that the point is come to, and lets the program go on.
        gate: Option<String>,
        /// `KILN_FAULT_SEEN` is a file for the names of the points that are come to.
        seen: Option<File>,
    }

    static WANTED: OnceLock<Wanted> = OnceLock::new();

    #[expect(clippy::disallowed_methods, reason = "it is no part of the program that is shipped")]
    fn read() -> Wanted {
        let text = std::env::var("KILN_FAULT").unwrap_or_default();
        let (point, what) = text.split_once('=').unwrap_or((&text, ""));
        let (action, time) = what.split_once('@').unwrap_or((what, "1"));
        let seen = std::env::var("KILN_FAULT_SEEN").ok();
        Wanted {
            point: point.to_owned(),
            action: action.to_owned(),
            time: time.parse().unwrap_or(1),
            times: AtomicU64::new(0),
            gate: std::env::var("KILN_FAULT_GATE").ok(),
            seen: seen.and_then(|path| File::options().append(true).create(true).open(path).ok()),
        }
    }

    pub(super) fn fault(point: &'static str) -> io::Result<()> {
        let wanted = WANTED.get_or_init(read);
        if let Some(mut seen) = wanted.seen.as_ref() {
            seen.write_all(format!("{point}\n").as_bytes())?;
        }
        let now = wanted.point == point && wanted.times.fetch_add(1, Ordering::SeqCst) + 1 == wanted.time;
        match wanted.action.as_str() {
            _ if !now => Ok(()),
            "kill" => {
                kill_process(getpid(), Signal::KILL)?;
                Ok(())
            }
            // Until the test lets it go on.
            "stop" => {
                kill_process(getpid(), Signal::STOP)?;
                Ok(())
            }
            // What comes next has not begun, whichever thread this is.
            "wait" => wanted.gate.iter().try_for_each(|gate| {
                std::fs::write(gate, "here")?;
                std::fs::read(gate).map(drop)
            }),
            "panic" => panic!("a test wants a panic at {point}"),
            _ => Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())),
        }
    }
}
