//! Outcomes as Arrow rows and back: the only place that knows how a field of an outcome becomes a column.

mod decode;
mod encode;

pub use decode::DecodeError;
pub(crate) use decode::decode;
pub(crate) use encode::encode;

#[cfg(test)]
mod tests;
