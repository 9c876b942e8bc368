//! Shell completions.

use std::io;

use clap::Command;
pub use clap_complete::Shell;

use crate::output;

/// The completion script of `command` for `shell`.
pub fn script(mut command: Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Prints the completion script of `command` to stdout.
pub fn print(command: Command, shell: Shell) -> io::Result<()> {
    output::print(&script(command, shell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_the_subcommands() {
        let command = Command::new("tool").subcommand(Command::new("inspect"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(command.clone(), shell);
            assert!(script.contains("inspect") && script.contains("tool"), "{shell}");
        }
    }
}
