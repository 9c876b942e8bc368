//! Questions to a model: the line to the coordinator that allows calls and keeps answers, and the calls themselves.
//!
//! *Invariant*: no call without the coordinator's leave, and no answer is used before the coordinator keeps it.

mod client;
mod llm_client;
mod pending;
mod queue;

pub(crate) use client::GatewayClient;
pub(crate) use llm_client::{Completion, LlmClient, USUAL_ANSWER};

#[cfg(test)]
pub(crate) mod tests;
