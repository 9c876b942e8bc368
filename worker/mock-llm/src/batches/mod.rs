//! Batches of calls: files that are uploaded, worked on for a while, and downloaded, with what goes wrong on the way.
//!
//! *Owns* the files (on disk, in a folder of its own), the batches and the counts of what was paid for. A batch is worked on
//! by the clock alone; its output is written when it is looked at after its end.

pub(crate) mod batch;
mod faults;
mod files;
pub(crate) mod http;
pub(crate) mod store;
mod work;

pub use batch::BatchSettings;
pub use faults::{BatchFault, BatchFaults};
pub use store::BatchReport;
