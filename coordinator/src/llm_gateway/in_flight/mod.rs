//! Calls in flight: recorded, permitted, brought back by their workers, completed, expired.
//!
//! *Invariant*: the permit of a call is sent after its row is durable; the row is deleted in the transaction that counts the
//! call. So the next process knows every call that may be paid for, and each is counted once.

mod adoption;
mod permits;
mod results;
