#![doc = include_str!("../README.md")]

mod answers;
pub mod batches;
mod chat;
pub mod faults;
pub mod latency;
pub mod limits;
pub mod manner;
pub mod replay;
mod respond;
mod router;
pub mod server;
pub mod stats;
pub mod style;

pub use answers::{Answers, EMPTY_PATCH};
pub use batches::{BatchFault, BatchFaults, BatchReport, BatchSettings};
pub use faults::{Fault, Faults};
pub use latency::Latency;
pub use limits::Allowed;
pub use manner::Manner;
pub use replay::PromptAnswers;
pub use router::serve;
pub use server::Provider;
pub use stats::{Report, Second};
pub use style::{HeaderStyle, LimitStyle, WaitStyle};

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
