//! What Kiln and its guardian say to one another. Knows no sockets.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// What Kiln hands over, as a descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HandOver {
    /// A lock, to be held to the end.
    Lock,
    /// The way to a new step.
    Step,
    /// A file to be written to when Kiln has gone without a word and all has ended: its time tells when.
    Ended,
}

/// The last words of a guardian.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// What was left of the run and has ended now.
    pub(crate) ended: Vec<String>,
    /// What was left of the run and does not end; the guardian stays with it.
    pub(crate) alive: Vec<String>,
}

/// What Kiln wants of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Start it; its outputs go to the two descriptors that come with this.
    Start(Box<Command>),
    /// Ask all of it to end.
    Ask,
    /// End all of it.
    Kill,
    /// Its main process has ended. Ask what it left behind to end, end it after so many milliseconds, and tell.
    Finish {
        /// The time.
        grace_ms: u64,
    },
}

/// What is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    /// The file of the program.
    pub(crate) program: PathBuf,
    /// The program as it was named, and its arguments.
    pub(crate) words: Vec<String>,
    /// Its whole environment.
    pub(crate) env: Vec<(String, Value)>,
    /// The folder that it runs in.
    pub(crate) workdir: PathBuf,
    /// The variables among `env` that mark its processes.
    pub(crate) marks: Vec<String>,
}

/// The value of a variable. Nearly all are text, and text is short in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) OsString);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Other(OsString),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => Self(text.into()),
            Written::Other(value) => Self(value),
        })
    }
}

/// What the guardian tells of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It did not start: the number of the system's error.
    NotStarted(Option<i32>),
    /// Its main process ended.
    Ended {
        /// The status, as the system gives it.
        status: i32,
        /// Whether other processes of it are left. If not, this is the last report.
        left: bool,
    },
    /// Nothing of it is left. These were, and were ended.
    Finished(Vec<String>),
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn values_come_over_as_they_are_text_or_not() {
        for bytes in [b"text \" \n".to_vec(), Vec::new(), vec![b'/', 0xff, b'"']] {
            let value = Value(OsString::from_vec(bytes));
            let over = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&over).unwrap(), value, "{over}");
        }
    }
}
