//! Questions to models, from all workers and runs: each is answered from what is kept, or its call is let through when the
//! budget allows, once over the fleet.
//!
//! *Owns* the life of every question. The [`machine`](Questions) is pure: time and what happened go in, [`Effect`]s come
//! out. [`Desk`] is the task that owns it, and joins it to streams, store and runs.
//!
//! *Invariants* (`tests` plays them with seeds):
//! 1. One flight per key: while a call for a key is believed to be under way, no other is let through.
//! 2. No call starts without leave, and leave is given only by the budget of its (account, model).
//! 3. What a call came to is durable before anybody hears of it.
//! 4. Every question ends in an answer, in what its call came to, in a refusal with a reason, or with its stream.
//! 5. Every leave comes back: with the end of its call, or at a deadline.

mod account;
mod batches;
mod board;
mod calls;
mod desk;
mod effect;
mod inbox;
mod machine;
mod recent;
#[cfg(test)]
mod tests;

pub(crate) use account::{Standing, Terms};
pub(crate) use board::Board;
pub(crate) use desk::Desk;
pub(crate) use effect::Reply;
pub(crate) use inbox::Inbox;
pub(crate) use machine::UNASKED;
