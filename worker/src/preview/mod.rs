//! What a run would ask, before it does; and what its documents hold.

pub mod estimate;
pub mod questions;
pub mod secrets;

pub use crate::gateway_client::NOT_RECORDED;
