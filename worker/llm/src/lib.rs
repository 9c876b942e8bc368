#![doc = include_str!("../README.md")]

pub mod batch;
pub mod client;
pub mod error;
pub mod headers;
pub mod limit;
pub mod mask;
pub mod models;
mod packed;
pub mod price;
pub mod providers;
mod proxy;
mod redirect;
pub mod refusals;
pub mod reply;
pub mod request;
pub mod retry;
pub mod settings;
