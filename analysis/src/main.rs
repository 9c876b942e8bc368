//! `analysis`: results of runs → figures.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    console::failure::finish("analysis", commands::run(cli))
}
