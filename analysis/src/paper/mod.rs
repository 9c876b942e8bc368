//! The files published with the paper: their formats, each file computed again from its inputs, and an audit of the
//! numbers that cannot be right.
//!
//! *Owns*: the formulas that only the paper has. *Never*: a published value as a result.
//! *Invariant*: every file of the folder gets a line.

mod audit;
pub mod baselines;
mod bundle;
pub mod calibration;
pub mod cross_version;
pub mod detector_eval;
pub mod fairness;
mod folder;
mod inputs;
pub mod multi_seed;
mod recompute;
pub mod throughput;

pub use audit::{Finding, audit, figures as audit_figures};
pub use folder::{PaperError, PaperFolder};
pub use recompute::{Difference, Line, Status, figures, recompute};
