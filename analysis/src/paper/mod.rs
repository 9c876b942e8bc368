//! The files published with the paper: their formulas and formats, the recomputation of each file from its inputs, and
//! an audit of impossible numbers.
//!
//! *Owns*: formulas that only the paper has. *Never*: uses a value of the paper as a result.
//! *Invariant*: every file of the folder has a line in the table.

mod audit;
pub(crate) mod baselines;
mod bundle;
pub(crate) mod calibration;
pub(crate) mod cross_version;
pub(crate) mod detector_eval;
pub(crate) mod fairness;
mod folder;
mod inputs;
pub(crate) mod multi_seed;
mod recompute;
pub(crate) mod throughput;

pub(crate) use audit::{Finding, audit, figures as audit_figures};
pub(crate) use folder::PaperFolder;
pub(crate) use recompute::{Status, figures, recompute};
