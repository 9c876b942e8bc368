//! The files published with the paper: their formats, each file computed again from its inputs, and an audit of the
//! numbers that cannot be right.
//!
//! *Owns*: the formulas that only the paper has. *Never*: a published value as a result.
//! *Invariant*: every file of the folder gets a line.

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
