//! Recomputes every file of the paper from its inputs and compares it value by value.

mod checks;
mod compare;
mod computed;
mod line;
mod schedules;
mod table;

pub(crate) use line::Status;
pub(crate) use table::{figures, recompute};
