//! The simulated provider: an OpenAI-compatible server with configurable limits, latency, faults and answers.
//!
//! *Never* knows Kubernetes: answers are handed in, by a function of the prompt or, for replay, by the prompt's hash.
//!
//! *Invariant*: what a request gets (answer, latency, fault) is decided by the seed, its question and how often that
//! question came, not by the order of requests; only limits, and a queue where there is one, look at the clock.

pub mod faults;
pub mod latency;
pub mod limits;
pub mod replay;
mod respond;
pub mod server;
pub mod stats;

use std::sync::Arc;

pub use faults::{Fault, Faults};
pub use latency::Latency;
pub use limits::Allowed;
pub use replay::PromptAnswers;
pub use server::{Provider, serve};
pub use stats::{Report, Second};

/// An answer that changes nothing; also what a prompt without an answer gets.
pub const EMPTY_PATCH: &str = "{\"patch\": []}";

/// Gives the text of an answer to the text of a question (the first message of the user); `None`: it knows none.
pub type Answers = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the provider is like.
#[derive(Clone)]
pub struct Settings {
    /// Its limits.
    pub allowed: Allowed,
    /// Whether it says nothing of its limits (`x-ratelimit-*`) and refuses what is beyond them all the same.
    pub silent: bool,
    /// How long it takes.
    pub latency: Latency,
    /// What goes wrong.
    pub faults: Faults,
    /// What it says.
    pub answers: Answers,
    /// How much faster than the clock everything goes.
    pub speed: f64,
    /// Seed of latency and faults.
    pub seed: u64,
}
