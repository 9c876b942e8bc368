#![doc = include_str!("../README.md")]

pub mod client;
pub mod error;
pub mod headers;
pub mod limit;
pub mod price;
pub mod reply;
pub mod request;
pub mod retry;
