//! What API servers answered about the documents of runs, before and after their repair.
//!
//! *Never*: a verdict that no server gave. Rows for which none was asked are left out and counted.

mod answers;
mod compare;
mod verdicts;

pub(crate) use answers::Judged;
pub(crate) use compare::cross_version;
pub(crate) use verdicts::verdicts;
