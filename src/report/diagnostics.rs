//! What Kiln warns of while it works: it goes to standard error, but above what is drawn on a terminal while something is. Does not
//! know what it says.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where diagnostics are written, in whole lines. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Arc<Mutex<Option<Vec<u8>>>>);

impl Diagnostics {
    /// From now on they wait for who draws.
    pub(super) fn hold(&self) {
        self.held().get_or_insert_default();
    }

    /// What waits.
    pub(super) fn take(&self) -> String {
        let waiting = self.held().as_mut().map(std::mem::take).unwrap_or_default();
        String::from_utf8_lossy(&waiting).into_owned()
    }

    /// Nothing is drawn any more: what waits is written, and all that comes.
    pub(super) fn release(&self) {
        let waiting = self.held().take().unwrap_or_default();
        // If standard error is closed there is nobody to tell.
        drop(io::stderr().write_all(&waiting));
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.held() {
            Some(waiting) => waiting.write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
