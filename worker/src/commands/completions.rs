//! `worker completions SHELL`.

use clap::CommandFactory;
use cli_support::Exit;
use cli_support::completions::{Shell, print};

use crate::cli::Cli;

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that will read the script
    shell: Shell,
}

/// Prints the completion script.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    print(Cli::command(), args.shell)?;
    Ok(Exit::Fine)
}
