//! Work on runs at rest, without a coordinator that serves: examine, import, list and remove.

pub(crate) mod doctor;
pub(crate) mod import;
pub(crate) mod retention;
pub(crate) mod run_dirs;
