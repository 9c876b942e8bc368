//! Proposers against each other, over the same records and under the same gates.
//!
//! *Invariant*: only runs that were made have figures.

mod deceptive;
mod escapes;
mod power;
mod proposers;

pub(crate) use deceptive::deceptive;
pub(crate) use escapes::escapes;
pub(crate) use power::{Plan, power};
pub(crate) use proposers::proposers;
