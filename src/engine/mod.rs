//! What carries steps out.

pub mod api;
