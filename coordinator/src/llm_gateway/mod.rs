//! Admission of LLM calls, over all workers and runs: a request is served from the response cache, or gets a permit for
//! its call when rate limit and spend limit allow. Single flight per key over the fleet.
//!
//! *Owns* the life of every question. The [`state`](Questions) is pure: time and what happened go in, [`Effect`]s come
//! out. [`GatewayHandle`] is the task that owns it, and joins it to streams, store and runs.
//!
//! *Invariants* (`tests` plays them with seeds):
//! 1. One flight per key: while a call for a key is believed to be under way, no other is let through.
//! 2. No call starts without leave, and leave is given only by the budget of its (account, model).
//! 3. What a call came to is durable before anybody hears of it.
//! 4. Every question ends in an answer, in what its call came to, in a refusal with a reason, or with its stream.
//! 5. Every leave comes back: with the end of its call, or at a deadline.

mod batcher;
mod dedup;
mod effect;
mod in_flight;
pub(crate) mod rate_limit;
mod request;
pub mod response_cache;
mod runs;
mod spend_limit;
mod state;
mod status_snapshot;
mod task;
#[cfg(test)]
mod tests;
mod worker_stream;

pub(crate) use effect::Reply;
pub(crate) use runs::{RunChanged, RunHalted, RunLink};
pub(crate) use spend_limit::LlmPolicy;
pub(crate) use task::GatewayHandle;
pub(crate) use worker_stream::WorkerStream;
