#![doc = include_str!("../README.md")]

#[macro_use]
mod sim;

mod batches;
pub mod cli;
pub mod client;
mod clock;
mod commands;
mod database;
pub mod embedded;
pub mod ledger;
pub mod llm_gateway;
mod maintenance;
mod metrics;
mod refusals;
pub mod run;
mod scheduler;
pub mod server;
mod settings;
mod view;
