//! The gates that a repair must pass, in their order: apply, policy, safety, schema, rescan.
//!
//! *Invariant*: a failure that the patch causes is the fault `patch`, one that existed before is the fault `document`. A gate
//! that did not run is reported as such.

mod admission;
mod apply;
mod collateral;
mod gates;
mod meaning;
mod policy;
mod rescan;
mod safety;
mod schema;
mod server;
mod server_result;

pub use admission::admitted;
pub use apply::{ApplyError, apply};
pub(crate) use apply::{MAX_INSERTED, apply_op, room_beside};
pub use collateral::{NOT_NEEDED, needless_companion};
pub use gates::{
    Before, Candidate, Clock, Verification, Verifier, Verify, collateral, examine, fault, runs, timed, verify,
};
pub use schema::of_patched as schema_of_patched;
pub use server::{decide, judge_after, judge_before};
pub use server_result::ServerResult;
