//! Maintenance of runs at rest, without a serving coordinator: examine, import, list and remove.

pub(crate) mod bundle;
pub(crate) mod doctor;
pub(crate) mod import;
pub(crate) mod retention;
pub(crate) mod run_dirs;
