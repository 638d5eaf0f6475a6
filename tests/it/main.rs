//! The integration tests of Kiln, in one binary.
