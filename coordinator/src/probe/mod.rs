//! How much does a provider let through, and how fast does it answer?
//!
//! Two ways: steps of so many calls in flight, with the latency and the throughput of each; and a search for the limits
//! on calls a minute, tokens a minute and calls in flight, which goes a little beyond each on purpose.
//!
//! Plan, statistics, estimates and reports are pure functions over the log of calls; [`drive`] alone waits and asks.
//! *Never* a retry: each call is one attempt, and its latency is its own.

pub mod call;
pub mod ceiling;
pub mod crowd;
pub mod drive;
pub mod find;
pub mod findings;
pub mod knee;
pub mod plan;
pub mod report;
pub mod stats;
pub mod steps;
#[cfg(test)]
mod tests;

pub use drive::{Ask, Drive, Stop};
pub use find::find;
pub use findings::Findings;
pub use plan::{Bounds, Plan, Questions};
pub use report::Report;
pub use steps::in_steps;

/// Seconds since the probe began.
pub type Seconds = f64;
