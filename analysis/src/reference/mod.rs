//! The published files: computed again from their inputs (`parity`), and held against what is right (`audit`).
//!
//! *Never*: a published value as a result. *Invariant*: every file of the folder gets a line.

mod audit;
mod checks;
mod compare;
mod computed;
mod line;
mod places;
mod schedules;
mod sources;
mod table;

pub use audit::{Finding, audit, figures as audit_figures};
pub use compare::Difference;
pub use line::{Line, Status};
pub use places::{Reference, ReferenceError};
pub use table::{figures, parity};
