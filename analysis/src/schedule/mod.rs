//! In which order accepted repairs are rolled out, and what waiting costs.
//!
//! `score`, `order`, `list`, `compare` and `sweep` are the paper's formulas over a fixed queue: Et is a number of
//! minutes, one repair is served after the other, and nothing is learnt. `simulate` is the queue over time.
//! `rollout_time` reads how long a rollout takes.
//!
//! *Never*: a clock; the orders are pure functions of records, times and weights.

mod candidates;
mod compare;
mod list;
mod order;
mod rollout_time;
mod score;
pub(crate) mod simulate;
mod sweep;

pub(crate) use candidates::{Candidate, PolicyTerms, RiskEntries, from_cases, from_paper};
pub(crate) use compare::compare;
pub(crate) use list::schedule;
pub(crate) use rollout_time::{Replicas, RolloutTimes};
pub use score::{Terms, Weights};
pub(crate) use sweep::{Grid, sweep};
