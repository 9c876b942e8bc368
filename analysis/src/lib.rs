#![doc = include_str!("../README.md")]

mod cite;
mod cli;
mod commands;
mod load;
mod metrics;
mod packet;
mod paper;
pub mod queue;
mod render;
mod report;
mod risk;
mod schedule;
mod stats;

pub use commands::main;
