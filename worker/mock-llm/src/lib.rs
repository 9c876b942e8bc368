#![doc = include_str!("../README.md")]

pub mod faults;
pub mod latency;
pub mod limits;
pub mod manner;
pub mod replay;
mod respond;
pub mod server;
pub mod stats;

use std::sync::Arc;

pub use faults::{Fault, Faults};
pub use latency::Latency;
pub use limits::Allowed;
pub use manner::Manner;
pub use replay::PromptAnswers;
pub use server::{Provider, serve};
pub use stats::{Report, Second};

/// A response that changes nothing; also the response to an unknown prompt.
pub const EMPTY_PATCH: &str = "{\"patch\": []}";

/// Returns the response to a prompt (the first user message); `None` for an unknown prompt.
pub type Answers = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Behaviour of the provider.
#[derive(Clone)]
pub struct Settings {
    /// Rate and concurrency limits.
    pub allowed: Allowed,
    /// Whether it sends no `x-ratelimit-*` headers; the limits apply all the same.
    pub silent: bool,
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
