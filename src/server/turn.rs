//! Locks: one that nobody waits for longer than he has patience, and what is locked for a moment only. Does not know what for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What only one does at a time.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Since when someone does it.
    taken: Mutex<Option<Instant>>,
    free: Condvar,
}

/// Someone's turn, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits for one's turn. None where the one who has it has had it for as long as this.
    pub(crate) fn take(&self, patience: Duration) -> Option<Taken<'_>> {
        let mut taken = guard(&self.taken);
        while let Some(since) = *taken {
            let left = patience.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
            (taken, _) = self.free.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = Some(Instant::now());
        Some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *guard(&self.0.taken) = None;
        self.0.free.notify_one();
    }
}

/// Locks something. What somebody left who panicked is as good as ever.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn one_at_a_time_and_nobody_waits_for_ever() {
        let turn = Turn::default();
        let mine = turn.take(Duration::ZERO);
        assert!(mine.is_some() && turn.take(Duration::ZERO).is_none());
        std::thread::scope(|scope| {
            let others = [(); 3].map(|()| scope.spawn(|| turn.take(LONG).is_some()));
            drop(mine);
            assert!(others.into_iter().all(|other| other.join().unwrap()));
        });
        assert!(turn.take(Duration::ZERO).is_some());
    }
}
