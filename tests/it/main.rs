//! The integration tests of Kiln, in one binary: the real program on real files.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and is no part of Kiln"
)]

mod crash;
mod edges;
mod environment;
mod jobs;
mod oracle;
mod pipelines;
mod run;
mod running;
mod store;
mod support;
mod tidy;
mod told;
