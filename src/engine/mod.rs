//! What carries steps out.

pub mod api;
pub mod local;
