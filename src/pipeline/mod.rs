//! The pipeline file: from text to a checked [`types::Pipeline`]. Pure: it reads no file, runs nothing, and does not
//! know what is built.

pub(crate) mod braces;
pub mod check;
pub mod dss_wire;
pub mod follows;
pub mod image;
pub(crate) mod lexer;
pub(crate) mod locate;
pub mod outline;
pub(crate) mod overwrites;
pub(crate) mod paths;
mod quick;
pub mod raw;
pub mod raw_engine;
pub mod read;
pub mod refs;
pub mod retry;
pub mod rows;
pub(crate) mod shell;
pub mod template;
pub mod types;
pub mod unused;
