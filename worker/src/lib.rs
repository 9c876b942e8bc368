#![doc = include_str!("../README.md")]

mod backoff;
pub mod cli;
pub mod commands;
mod cpu_pool;
mod deadline;
pub mod estimate;
mod findings;
mod gateway_client;
pub mod pipeline;
pub mod programs;
pub mod questions;
mod remote;
mod repair;
mod replay;
mod server_gate;
pub mod server_judge;
pub mod session;
mod upload;
mod verifier;
