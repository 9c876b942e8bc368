//! The gates of the published runs, unchanged.
//!
//! Kept beside the strict gates so that recorded patches get their recorded verdicts. Their defects are kept: seven
//! policies have no re-check, unknown policies pass, pod-level settings are not read, the safety gate knows two tests.
//! The schema gate is not part of it (the published rules run let every schema failure pass), nor is the rescan
//! (it was switched off).
//!
//! *Never* used to accept a repair of ours unless the run asks for the published gates.

mod judge;
mod reason;
mod recheck;
mod safety;
mod verify;
mod walk;

pub use judge::{Judgement, judge};
pub use verify::verify;
