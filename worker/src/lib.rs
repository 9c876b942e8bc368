//! The fleet's member and the single stages on files.

pub mod cli;
pub mod commands;
mod findings;
pub mod intake;
pub mod pipeline;
mod repair;
mod sarif;
mod write;
