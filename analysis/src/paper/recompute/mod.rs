//! Every published file, computed again from its inputs and compared value by value.

mod checks;
mod compare;
mod computed;
mod line;
mod schedules;
mod table;

pub use compare::Difference;
pub use line::{Line, Status};
pub use table::{figures, recompute};
