//! What the simulated provider answers: for every record of a corpus, the prompt that a run would send, built by the
//! proposer's own code, and the answer to it: the rules' patch, or what another model once said.
//!
//! *Never* limits, delays or fails anything: that is `mock_llm`, which knows no Kubernetes and finds answers by the hash
//! of the prompt.

mod prompts;
mod recorded;
mod rules;
mod secrets;

pub(crate) use recorded::recorded;
pub(crate) use rules::by_rules;
