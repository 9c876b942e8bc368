#![doc = include_str!("../README.md")]

mod boundaries;
mod document;
mod forms;
mod masks;
mod names;
mod shape;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;

pub use masks::{Masks, Secret, mask_text};
