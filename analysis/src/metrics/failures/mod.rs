//! Records that were not accepted, by gate, policy, fault, kind and reason, each with an example record.

mod groups;
mod kinds;
mod message;
mod taxonomy;

pub(crate) use groups::{Failure, Failures, Sum};
pub(crate) use kinds::{Kind, folded};
pub(crate) use taxonomy::{Category, Taxonomy};
