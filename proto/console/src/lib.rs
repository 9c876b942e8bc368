#![doc = include_str!("../README.md")]

pub mod completions;
pub mod env;
pub mod exit;
pub mod failure;
pub mod interrupt;
pub mod output;
pub mod progress;
pub mod settings;
pub mod telemetry;

pub use exit::Exit;
pub use output::{Format, Table};
