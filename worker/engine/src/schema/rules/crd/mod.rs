//! Custom resource definitions.

mod definition;
mod schema;

pub(crate) use definition::definition;
