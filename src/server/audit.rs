//! Who started, aborted and cleared what: a line of JSON for each, kept beside the history.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

/// The file in the state's folder.
pub(crate) const FILE: &str = "audit.jsonl";

/// Something that someone did.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) at: String,
    pub(crate) key: &'a str,
    pub(crate) from: IpAddr,
    pub(crate) what: &'a str,
    pub(crate) project: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) job: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) about: &'a str,
}

/// Adds a line. One that cannot be written is told, and keeps nobody from working.
pub(crate) fn note(folder: &Path, line: &Line<'_>) {
    let write = || {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        // One write: lines of several servers do not mix.
        File::options().create(true).append(true).open(folder.join(FILE))?.write_all(text.as_bytes())
    };
    if let Err(error) = write() {
        tracing::error!(%error, "the audit log cannot be written");
    }
}
