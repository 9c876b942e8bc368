//! The gates that a repair must pass.

mod apply;
pub mod published;

pub use apply::{ApplyError, apply};
