//! The wall clock; the only file that asks the system for the time of day.

/// Now.
#[must_use]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Now, in nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> i64 {
    i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX)
}
