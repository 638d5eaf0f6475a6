//! What waits to be written: a queue of batches that wakes its reader only where someone waits for the disk. Knows no store.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The writing end: what is put in comes out at the other end, in order.
pub(super) struct Queue<T>(Arc<Shared<T>>);

/// The reading end. When it goes, nobody waits any longer.
pub(super) struct Queued<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Waiting<T>,
    /// Whether the reader sleeps until there is something.
    idle: bool,
    /// Whether the other end has gone.
    closed: bool,
}

/// What waits.
pub(super) struct Waiting<T> {
    pub(super) batches: Vec<T>,
    /// Who is told when all before is written.
    pub(super) flushes: Vec<Sender<()>>,
    /// Whether someone waits for it.
    hurry: bool,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { batches: Vec::new(), flushes: Vec::new(), hurry: false }
    }
}

impl<T> Waiting<T> {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.flushes.is_empty()
    }
}

/// Both ends of a new queue.
pub(super) fn queue<T>() -> (Queue<T>, Queued<T>) {
    let state = State { waiting: Waiting::default(), idle: false, closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Queue(Arc::clone(&shared)), Queued(shared))
}

impl<T> Queue<T> {
    /// Adds a batch. `hurry` says whether anything happens later because it is written later.
    pub(super) fn push(&self, batch: T, hurry: bool) {
        self.add(hurry, |waiting| waiting.batches.push(batch));
    }

    /// Has `done` told when all before is written. It is dropped where it never will be.
    pub(super) fn flush(&self, done: Sender<()>) {
        self.add(true, |waiting| waiting.flushes.push(done));
    }

    fn add(&self, hurry: bool, add: impl FnOnce(&mut Waiting<T>)) {
        let mut state = self.0.lock();
        if state.closed {
            return; // the reader has told why
        }
        add(&mut state.waiting);
        state.waiting.hurry |= hurry;
        if hurry || state.idle {
            self.0.changed.notify_one();
        }
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl<T> Queued<T> {
    /// All that waits. What nobody waits for stays for up to `linger`, so that more of it is taken at once. None when nothing
    /// more will come.
    pub(super) fn next(&self, linger: Duration) -> Option<Waiting<T>> {
        let mut state = self.0.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let stays = |state: &mut State<T>| !state.waiting.hurry && !state.closed;
        let waited = self.0.changed.wait_timeout_while(state, linger, stays);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut state.waiting))
    }
}

impl<T> Drop for Queued<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.waiting = Waiting::default();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing is half done where this could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Longer than any test: whoever waits so long was forgotten.
    const FAR: Duration = Duration::from_secs(3_600);

    #[test]
    fn what_someone_waits_for_brings_what_nobody_waits_for_with_it() {
        let (queue, queued) = queue();
        queue.push(1, false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queued.next(FAR).unwrap().batches);
            queue.push(2, false);
            queue.push(3, true);
            assert_eq!(reader.join().unwrap(), [1, 2, 3]);
        });
    }

    #[test]
    fn what_nobody_waits_for_is_taken_all_the_same() {
        let (queue, queued) = queue();
        queue.push(1, false);
        assert_eq!(queued.next(Duration::ZERO).unwrap().batches, [1]);
        queue.push(2, false);
        drop(queue);
        assert_eq!(queued.next(FAR).unwrap().batches, [2], "nothing more comes");
        assert!(queued.next(FAR).is_none());
    }

    #[test]
    fn nobody_waits_for_a_reader_that_has_gone() {
        let (queue, queued) = queue::<()>();
        let ((before, waits), (after, waits_too)) = (channel(), channel());
        queue.flush(before);
        drop(queued);
        queue.flush(after);
        assert!(waits.recv().is_err() && waits_too.recv().is_err());
    }
}
