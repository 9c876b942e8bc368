//! Corpora in: every form of input becomes records with their documents, in the order of the corpus.
//!
//! *Owns* the way from paths to [`Record`](domain::record::Record)s: manifests go through the detector, published
//! detections are taken as they are or re-read from the manifests. *Never* decides what happens to a record.
//! *Invariant*: one bad document, file or record is a record with a `problem`; the others go on. Memory does not grow
//! with the number of records, apart from a few bytes for each that tell ids apart.

mod cut;
mod detected;
mod identity;
mod inputs;
mod parallel;
mod published;
mod resolve;
mod scan;
mod source;
mod text;

pub(crate) use cut::Place;
pub(crate) use detected::rows;
pub(crate) use inputs::Inputs;
pub(crate) use scan::{FileScan, Scan, Scanned};
pub use source::{Form, Source, Summary, read};
pub use text::findings;
