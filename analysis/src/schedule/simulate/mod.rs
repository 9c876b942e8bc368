//! The queue over time: jobs arrive, servers take them in the order of a rule, what fails is tried again.
//!
//! `jobs` draws what happens from measured records, `server` lets it happen, `rule` chooses who is next, `measure` sums
//! it up, `experiment` repeats it. Every rule sees the same draws, so rules are compared in pairs.
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
