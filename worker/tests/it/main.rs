//! The command line and the intake, from outside.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod intake;
