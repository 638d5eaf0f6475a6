//! A place to write to that has a name, so that what goes wrong says where. Does not know what is written.

use std::io::{self, Write};

/// Writes to a place of this name.
#[derive(Debug)]
pub struct Named<W> {
    name: String,
    out: W,
}

impl<W> Named<W> {
    /// Writes to `out`, which people know as `name`.
    pub fn new(name: impl Into<String>, out: W) -> Self {
        Self { name: name.into(), out }
    }
}

fn explain<T>(name: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{name} cannot be written: {error}")))
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        explain(&self.name, self.out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        explain(&self.name, self.out.flush())
    }
}
