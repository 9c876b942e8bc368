//! The crate from outside: against a fake API server, and against a real one where its programs are on this machine.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod fake;
mod hostile;
mod kills;
mod live;
mod recorded;
mod verdicts;
