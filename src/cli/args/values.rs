//! The values of options: what they may be, and what is said of others.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::text::parse_duration;

/// A number of things of which there has to be one at least.
pub(super) fn from_one(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "write a whole number from 1 on".to_owned())
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let known = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = known.as_deref().unwrap_or(text).parse();
    address.map_err(|_| "write an address and a port, as 127.0.0.1:11200, [::1]:11200 or localhost:11200".to_owned())
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| format!("{error}; write 30s, 30m or 1h 30m"))
}

pub(super) fn time_limit(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("nothing is that fast".to_owned()),
        time => Ok(time),
    }
}

pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
