//! Who judges the documents of a run besides the embedded rules: an API server, and other scanners.

mod scanners;
mod servers;

pub(super) use scanners::scanners_wait_for;
pub(super) use servers::active_judge;
