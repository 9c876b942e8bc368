#![doc = include_str!("../README.md")]

pub mod call;
pub mod concurrency_limit;
pub mod drive;
pub mod find;
pub mod findings;
pub mod knee;
mod outcomes;
pub mod plan;
pub mod rate_limit;
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
