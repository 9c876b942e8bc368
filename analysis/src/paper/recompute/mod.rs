//! Every published file, computed again from its inputs and compared value by value.

mod checks;
mod compare;
mod computed;
mod line;
mod schedules;
mod table;

pub(crate) use line::Status;
pub(crate) use table::{figures, recompute};
