//! `coordinator completions SHELL`.

use cli_support::Exit;
use cli_support::completions::{Shell, print};

/// Which completion script to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell that will read the script
    shell: Shell,
}

/// Prints the completion script of `command`.
pub(crate) fn run(args: &Args, command: clap::Command) -> anyhow::Result<Exit> {
    print(command, args.shell)?;
    Ok(Exit::Fine)
}
