#![doc = include_str!("../README.md")]

pub mod client;
pub mod error;
pub mod headers;
pub mod limit;
pub mod mask;
pub mod price;
pub mod providers;
pub mod refusals;
pub mod reply;
pub mod request;
pub mod retry;
pub mod settings;
