//! Questions to a model: the line to the coordinator that allows calls and keeps answers, and the calls themselves.
//!
//! *Invariant*: no call without the coordinator's leave, and no answer is used before the coordinator keeps it.

mod book;
mod consult;
mod line;
mod queue;

pub(crate) use consult::{Consultant, Consulted, USUAL_ANSWER};
pub(crate) use line::Line;

#[cfg(test)]
pub(crate) mod tests;
