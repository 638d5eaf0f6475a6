//! The exit codes of `kiln`, as documented for its users.

/// All is built or up to date.
pub const OK: u8 = 0;
/// A step failed; for `plan --check`, something would be built.
pub const FAILED: u8 = 1;
/// The command line or the file is wrong.
pub const WRONG: u8 = 2;
/// The engine or the store could not be reached.
pub const SURROUNDINGS: u8 = 3;
/// Nothing was selected.
pub const NOTHING: u8 = 4;
/// A bug of ours.
pub const BUG: u8 = 70;
/// The run took longer than it may.
pub const TIME_LIMIT: u8 = 124;
/// Stopped by SIGHUP.
pub const HANGUP: u8 = 129;
/// Stopped by Ctrl-C.
pub const INTERRUPTED: u8 = 130;
/// Stopped by SIGTERM.
pub const TERMINATED: u8 = 143;
