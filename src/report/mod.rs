//! What shows a run.

pub mod api;
