//! The coordinator from outside: its command line, its services, its recovery.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod answers;
mod ask;
mod cli;
#[cfg(all(debug_assertions, unix))]
mod crash;
mod doctor;
#[cfg(all(debug_assertions, unix))]
mod failures;
mod fleet;
mod help;
mod layout;
mod life;
mod limits;
mod model;
mod probe;
mod process;
mod provider;
mod resume;
mod support;
mod traces;
mod untrusted;
