#![doc = include_str!("../README.md")]

pub mod completions;
pub mod descriptors;
pub mod env;
pub mod escape;
pub mod exit;
pub mod failure;
#[cfg(feature = "http")]
pub mod http;
pub mod interrupt;
mod layout;
#[cfg(feature = "http")]
pub mod openmetrics;
pub mod output;
pub mod private;
pub mod progress;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod traces;
pub mod usage;
pub mod version;

pub use exit::Exit;
pub use output::{Format, Table};
