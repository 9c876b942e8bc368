//! Outcomes as Arrow rows and back: the only code that maps fields of an outcome to columns.

mod decode;
mod encode;

pub use decode::DecodeError;
pub(crate) use decode::decode;
pub(crate) use encode::encode;

#[cfg(test)]
mod tests;
