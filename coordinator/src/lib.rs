#![doc = include_str!("../README.md")]

#[macro_use]
pub mod sim;

pub mod cli;
pub mod client;
pub mod clock;
mod commands;
mod database;
pub mod embedded;
pub mod ledger;
pub mod llm_gateway;
mod maintenance;
mod metrics;
mod refusals;
pub mod run;
pub mod scheduler;
pub mod server;
mod settings;
mod view;
