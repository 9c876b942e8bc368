//! `worker completions SHELL`: prints the completion script for a shell.

use cli_support::Exit;
use cli_support::completions::{Shell, print};

/// Arguments of `worker completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that will read the script
    shell: Shell,
}

/// Prints the completion script for `command`, the program's root command with all subcommands.
pub fn run(args: &Args, command: clap::Command) -> anyhow::Result<Exit> {
    print(command, args.shell)?;
    Ok(Exit::Fine)
}
