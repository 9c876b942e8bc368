//! The fleet's member and the single stages on files.

pub mod cli;
pub mod commands;
pub mod intake;
pub mod pipeline;
