//! A place to write to that holds nobody up: what is written waits for a thread of its own, however slowly it is read on the
//! other side. Does not know what is written.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where reporters write.
pub trait Out: Write {
    /// How many bytes have not been written yet: more than none for long, and who reads is slow or pauses.
    fn waiting(&self) -> usize {
        0
    }
}

impl<W: Out + ?Sized> Out for Box<W> {
    fn waiting(&self) -> usize {
        (**self).waiting()
    }
}

/// Writes on a thread of its own, in order. What goes wrong there is the error of the next call. To flush is to wait until all is
/// written.
#[derive(Clone, Debug)]
pub struct Outlet {
    to: Sender<Message>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    /// Why nothing is written any more.
    failed: Mutex<Option<(io::ErrorKind, String)>>,
}

enum Message {
    Bytes(Vec<u8>),
    /// All that came before is written: whoever waits for that sees the other side go.
    Written(#[expect(dead_code, reason = "it is dropped, and that is what tells")] Sender<()>),
}

impl Outlet {
    /// Writes to `out`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (to, messages) = channel();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::Builder::new().name("kiln-outlet".to_owned()).spawn(move || write_all(out, &messages, &shared))?;
        Ok(Self { to, state })
    }

    fn send(&self, message: Message) -> io::Result<()> {
        self.state.sound()?;
        self.to.send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.state.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        self.send(Message::Bytes(bytes.to_vec()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (here, written) = channel();
        self.send(Message::Written(here))?;
        while written.recv().is_ok() {}
        self.state.sound()
    }
}

impl Out for Outlet {
    fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::Relaxed)
    }
}

impl State {
    fn failed(&self) -> MutexGuard<'_, Option<(io::ErrorKind, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sound(&self) -> io::Result<()> {
        match &*self.failed() {
            None => Ok(()),
            Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
        }
    }
}

/// Writes what comes, until nobody can send any more; after a failure what comes is dropped.
fn write_all(mut out: impl Write, messages: &Receiver<Message>, state: &State) {
    for message in messages {
        let Message::Bytes(bytes) = message else { continue };
        if state.failed().is_none()
            && let Err(error) = out.write_all(&bytes).and_then(|()| out.flush())
        {
            *state.failed() = Some((error.kind(), error.to_string()));
        }
        state.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_reader_that_pauses_holds_nobody_up() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Outlet::new(writer).unwrap();
        let mut other = outlet.clone();
        let much = vec![b'x'; 1 << 20]; // more than a pipe holds
        outlet.write_all(&much).unwrap();
        other.write_all(b"end").unwrap();
        assert!(outlet.waiting() > 0);
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        outlet.flush().unwrap();
        assert_eq!(outlet.waiting(), 0);
        drop((outlet, other));
        let all = reading.join().unwrap().unwrap();
        assert_eq!(all.len(), much.len() + 3);
        assert!(all.ends_with(b"xend"));
    }

    #[test]
    fn what_went_wrong_is_told_with_the_next_call() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut outlet = Outlet::new(writer).unwrap();
        outlet.write_all(b"x").unwrap();
        assert_eq!(outlet.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(outlet.write(b"y").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
