#![doc = include_str!("../README.md")]

pub mod batches;
mod chat;
pub mod faults;
pub mod latency;
pub mod limits;
pub mod manner;
pub mod replay;
mod respond;
pub mod server;
pub mod stats;
pub mod style;

use std::sync::Arc;

pub use batches::{BatchFault, BatchFaults, BatchReport, BatchSettings};
pub use faults::{Fault, Faults};
pub use latency::Latency;
pub use limits::Allowed;
pub use manner::Manner;
pub use replay::PromptAnswers;
pub use server::{Provider, serve};
pub use stats::{Report, Second};
pub use style::{HeaderStyle, LimitStyle, WaitStyle};

/// A response that changes nothing; also the response to an unknown prompt.
pub const EMPTY_PATCH: &str = "{\"patch\": []}";

/// Returns the response to a prompt (the first user message); `None` for an unknown prompt.
pub type Answers = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The tokens of prompts that the provider has in its cache.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cached {
    /// Their share of each prompt.
    pub share: f64,
    /// Whether they use none of the limit of tokens.
    pub free: bool,
}

/// Behaviour of the provider.
#[derive(Clone)]
pub struct Settings {
    /// Rate and concurrency limits.
    pub allowed: Allowed,
    /// How it states limits and waits.
    pub style: HeaderStyle,
    /// What of the prompts it has in its cache.
    pub cached: Cached,
    /// How batches are worked on.
    pub batches: BatchSettings,
    /// Latency of a response.
    pub latency: Latency,
    /// Faults and their shares.
    pub faults: Faults,
    /// Responses by prompt.
    pub answers: Answers,
    /// How it departs from a provider that serves what it is asked for.
    pub manner: Manner,
    /// How many times faster than the clock time runs.
    pub speed: f64,
    /// Seed of latency and faults.
    pub seed: u64,
}
