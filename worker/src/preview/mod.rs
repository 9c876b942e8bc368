//! What a run would ask, before it does.

pub mod estimate;
pub mod questions;
