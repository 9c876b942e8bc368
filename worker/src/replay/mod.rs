//! Responses for the simulated provider: for each record of a corpus, the prompt that a run sends, built by the
//! proposer's own code, and a response to it: the rules' patch, or a recorded patch of another model.
//!
//! *Never* limits, delays or fails a call: that is the task of the crate `mock-llm`, which does not depend on
//! Kubernetes and finds a response by the hash of its prompt.

mod prompts;
mod recorded;
mod rules;
mod secrets;

pub(crate) use recorded::recorded;
pub(crate) use rules::by_rules;
