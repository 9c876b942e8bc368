#![doc = include_str!("README.md")]

mod collect;
mod deliver;
mod driver;
mod error;
mod gather;
mod lifecycle;
pub(crate) mod record;
#[cfg(test)]
mod tests;

pub(crate) use deliver::{Delivery, deliver};
pub(crate) use driver::Event;
pub(crate) use record::Target;
