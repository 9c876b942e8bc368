//! A worker's session with its coordinator: join, lease shards, compute, commit, renew; join again when the stream
//! breaks.
//!
//! *Owns* the leases that the worker holds. One task (`dispatcher::Dispatcher`) handles every event in turn; other
//! tasks compute and send. *Invariant*: after a lease's deadline nothing is sent under it.

mod configs;
mod dispatcher;
mod lease_table;
mod outcome;
mod prefetch;
mod serve;
mod services;

pub use outcome::{SessionError, Stage, Summary};
pub use scanners::Tool;
pub use serve::{Options, QUESTIONS, serve};
