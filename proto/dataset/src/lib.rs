#![doc = include_str!("../README.md")]

pub mod audit;
pub mod compact;
pub mod corpus;
pub mod crash;
pub mod fingerprint;
pub mod part;
pub mod probe;
pub mod published;
mod rows;
pub mod run_file;
pub mod scan;
pub mod schema;
pub mod store;
#[cfg(test)]
mod testing;
