//! Discrete-event simulation of the queue: jobs arrive, servers take them in the order of a rule, failed jobs are
//! retried.
//!
//! `jobs` draws jobs from measured records, `server` runs the simulation, `rule` chooses the next job, `measure`
//! summarises a repetition, `experiment` runs many. All rules use the same draws, so they are compared in pairs.
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
