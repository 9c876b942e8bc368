//! A durable queue of repairs to roll out, in one `SQLite` file that several processes may share.
//!
//! ```text
//! queued ─claim─► leased ─ack─► done
//!    ▲              │ ├─refuse─► failed         a person said no: never tried again
//!    └──requeue─────┘ └─the last attempt went wrong, or its lease ran out─► dead
//! ```
//! A claim carries a token that grows with every claim of an item; an answer with another token is refused, so that who
//! lost a lease cannot answer for who has it now. An item keeps its age when it is put in again.
//!
//! *Never*: a clock; `now` is an argument. *Invariant*: an item is done at most once.

mod error;
mod store;
#[cfg(test)]
mod tests;

pub use crate::schedule::{Terms, Weights};
pub use error::QueueError;
pub use store::{Answer, Choice, Claimed, Item, Queue, Rule, Stats};
