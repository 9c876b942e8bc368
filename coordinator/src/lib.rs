#![doc = include_str!("../README.md")]

#[macro_use]
mod mutation;

pub mod answers;
mod asked;
mod budget;
pub mod cli;
pub mod client;
mod commands;
mod commit;
mod database;
mod doctor;
pub mod embedded;
mod finish;
mod http;
mod import;
mod intact;
pub mod invariants;
pub mod leases;
pub mod ledger;
mod live;
mod metrics;
mod plan;
pub mod probe;
mod questions;
mod retention;
mod rpc;
pub mod runs;
pub mod server;
mod settings;
mod shelves;
#[cfg(test)]
mod sim;
pub mod state;
pub mod stream_limits;
mod summary;
pub mod synth;
mod upload_limit;
