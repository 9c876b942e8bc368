#![doc = include_str!("../README.md")]

mod detected;
mod detections;
mod error;
mod findings;
mod identity;
mod inputs;
mod kustomize;
pub mod parallel;
pub mod read;
mod resolve;
mod scan;
mod sink;
mod source;
mod split;
pub mod synth;

pub use detected::{Row, rows};
pub use error::CorpusError;
pub use findings::findings;
pub use inputs::{Inputs, glob_matches, path_below};
pub use kustomize::is_kustomization;
pub use scan::{FileScan, Scan, Scanned, Suppressed, Trouble, TroubleSort};
pub use source::{Form, Source, Summary, read};
pub use split::{Place, Positions, objects_at};
