//! A durable queue of repairs to roll out, in one `SQLite` file that several processes may share.
//!
//! ```text
//! queued ─claim─► leased ─ack─► done
//! ▲              │ ├─refuse─► failed         refused by a person: never tried again
//! └──requeue─────┘ └─the last attempt failed, or its lease expired─► dead
//! ```
//! A claim carries a fencing token that grows with every claim of an item; an answer with an older token is refused, so
//! the holder of an expired lease cannot answer for the current one. An item keeps its age when it is enqueued again.
//!
//! *Never*: reads a clock; `now` is an argument. *Invariant*: an item is done at most once.

mod error;
mod store;
#[cfg(test)]
mod tests;

pub use crate::schedule::{Terms, Weights};
pub use error::QueueError;
pub use store::{Answer, Choice, Claimed, Item, Queue, Rule, Stats};
