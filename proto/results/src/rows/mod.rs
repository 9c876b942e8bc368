//! Outcomes as Arrow rows and back: the only code that maps fields of an outcome to columns.

mod cells;
mod decode;
mod encode;
mod rescan;
mod server;

pub use cells::DecodeError;
pub(crate) use decode::decode;
pub(crate) use encode::encode;

#[cfg(test)]
mod tests;
