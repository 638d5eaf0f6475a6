//! The integration tests of Kiln, in one binary: the real program on real files.

mod support;
mod tidy;
