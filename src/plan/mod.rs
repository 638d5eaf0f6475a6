//! What would be built, in which order and why. Pure: what is on disk and what was built before comes in as data.

pub mod reason;
pub mod record;
