//! LLM calls of a worker: the client of the coordinator's gateway, which permits calls and persists responses, and the
//! calls themselves.
//!
//! *Invariant*: no call without a permit, and no response is used before the coordinator has persisted it.

mod answer_form;
mod client;
mod llm_client;
mod pending;
mod queue;

pub(crate) use client::GatewayClient;
pub use llm_client::NOT_RECORDED;
pub(crate) use llm_client::{Completion, LlmClient, USUAL_ANSWER};

#[cfg(test)]
pub(crate) mod tests;
