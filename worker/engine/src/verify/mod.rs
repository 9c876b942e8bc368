//! The gates that a repair must pass, in their order: apply, policy, safety, schema, rescan.
//!
//! *Invariant*: a failure that the patch causes is the fault `patch`, one that existed before is the fault `document`. A gate
//! that did not run is reported as such.

mod apply;
mod collateral;
mod gates;
mod meaning;
mod policy;
mod rescan;
mod safety;
mod schema;

pub use apply::{ApplyError, apply};
pub use gates::{
    Before, Candidate, Clock, Verification, Verify, collateral, examine, fault, runs, timed, verify,
};
pub use schema::of_patched as schema_of_patched;
