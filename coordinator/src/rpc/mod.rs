//! The two services: convert, call, convert.

mod ask;
mod fleet;
mod runs;
mod work;

pub(crate) use fleet::FleetService;
pub(crate) use runs::{RunsService, SUBMISSIONS};
