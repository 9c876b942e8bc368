#![doc = include_str!("../README.md")]

pub mod audit;
pub mod bounded;
pub mod compact;
pub mod corpus_copy;
pub mod crash;
pub mod file_error;
pub mod fingerprint;
pub mod input;
pub mod layout;
pub mod paper_files;
pub mod part;
pub mod probe;
pub mod root;
mod rows;
pub mod run_file;
pub mod scan;
pub mod schema;
pub mod store;
#[cfg(test)]
mod testing;
