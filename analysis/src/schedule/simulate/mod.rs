//! Discrete-event simulation of the rollout queue: jobs arrive, a scheduling rule chooses the next job for a free
//! server, and failed jobs are retried.
//!
//! `jobs` draws jobs from measured records, `rule` has the scheduling rules, `server` simulates one repetition,
//! `measure` computes its figures, `experiment` runs the repetitions of all settings. All rules run on the same draws
//! (common random numbers), so their differences are paired.
//!
//! *Invariant*: the same seed gives the same figures, on any number of threads.

mod experiment;
mod jobs;
mod measure;
mod rule;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use experiment::{Cell, Setting, Spread, experiment, figures};
pub(crate) use jobs::Pool;
pub(crate) use measure::BANDS;
