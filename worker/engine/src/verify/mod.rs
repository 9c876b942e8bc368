//! The gates that a repair must pass.

mod apply;

pub use apply::{ApplyError, apply};
