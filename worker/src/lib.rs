#![doc = include_str!("../README.md")]

mod backoff;
pub mod cli;
pub mod commands;
mod cpu_pool;
mod deadline;
mod findings;
mod gateway_client;
pub mod pipeline;
pub mod preview;
pub mod programs;
mod remote;
mod repair;
mod replay;
mod server_gate;
pub mod server_judge;
pub mod session;
mod upload;
mod verifier;
