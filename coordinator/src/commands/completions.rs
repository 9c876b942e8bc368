//! `coordinator completions SHELL`.

use clap::CommandFactory as _;
use cli_support::Exit;
use cli_support::completions::{Shell, print};

use crate::cli::Cli;

/// Which completion script to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell that will read the script
    shell: Shell,
}

/// Prints the completion script.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    print(Cli::command(), args.shell)?;
    Ok(Exit::Fine)
}
