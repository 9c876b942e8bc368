#![doc = include_str!("../README.md")]

pub mod corpus;
pub mod part;
mod rows;
pub mod run_file;
pub mod scan;
pub mod schema;
pub mod store;
#[cfg(test)]
mod testing;
