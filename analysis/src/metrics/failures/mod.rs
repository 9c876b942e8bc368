//! Records that were not accepted, by gate, policy, fault, kind and reason, each with an example record.

mod groups;
mod message;
mod taxonomy;

pub(crate) use groups::{Failure, Failures, Sum};
pub(crate) use taxonomy::{Category, Taxonomy};
