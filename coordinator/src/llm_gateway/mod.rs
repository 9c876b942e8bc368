#![doc = include_str!("README.md")]

mod batcher;
mod dedup;
mod effect;
mod in_flight;
mod permit_key;
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
mod verdict;
mod waiting;
mod worker_stream;

pub(crate) use effect::Reply;
pub(crate) use permit_key::PermitKey;
pub(crate) use runs::{RunChanged, RunHalted, RunLink};
pub(crate) use spend_limit::LlmPolicy;
pub(crate) use task::GatewayHandle;
pub(crate) use worker_stream::WorkerStream;
