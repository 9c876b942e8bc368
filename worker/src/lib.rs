//! The fleet's member and the single stages on files.

mod backoff;
pub mod cli;
pub mod commands;
mod cpu_pool;
pub mod estimate;
mod findings;
pub mod intake;
mod lease;
mod model;
pub mod pipeline;
mod remote;
mod repair;
mod replay;
mod sarif;
pub mod session;
mod upload;
mod write;
