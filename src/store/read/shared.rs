//! One connection to the store for all that a command asks it. It is made with the first question, and can be let go of.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::store::StoreError;
use crate::store::read::Reader;

/// A reader that is opened when it is asked, for several who ask.
pub struct Shared {
    state: PathBuf,
    reader: Mutex<Option<Reader>>,
}

impl Shared {
    /// That of the store of this state. Connects to nothing yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned(), reader: Mutex::default() }
    }

    /// The folder of the state.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Asks a question; none where there is no store yet.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub fn ask<T>(&self, question: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        // A reader has nothing that could be half done.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.is_none() {
            *reader = Reader::open(&self.state)?;
        }
        reader.as_ref().map(question).transpose()
    }

    /// Closes the connection until the next question: who opens the store for writing may have to be alone with it.
    pub fn let_go(&self) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write::Writer;

    #[test]
    fn a_store_that_comes_later_is_found() {
        let state = tempfile::tempdir().unwrap();
        let shared = Shared::new(state.path());
        assert_eq!(shared.ask(|_| Ok(1)).unwrap(), None);
        Writer::open(state.path(), Box::new(|_| {})).unwrap().close().unwrap();
        assert_eq!(shared.ask(|_| Ok(1)).unwrap(), Some(1));
        shared.let_go();
        assert_eq!(shared.ask(|_| Ok(2)).unwrap(), Some(2));
    }
}
