//! Kiln builds data pipelines that are declared in one TOML file.

pub mod base;
pub mod cause;
pub mod cli;
pub mod clock;
pub mod draw;
pub mod engine;
pub mod event;
pub mod exit;
pub mod fault;
mod files;
pub mod graph;
pub mod listed;
pub mod outcome;
pub mod pipeline;
pub mod plan;
pub mod process;
mod program;
pub mod report;
pub mod run;
pub mod select;
mod server;
mod session;
pub mod signal;
pub mod stat;
pub mod store;
pub mod view;
