//! From which severity on a finding fails the command.

/// The findings that end the command with 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands) enum FailOn {
    /// Errors
    Error,
    /// Errors and warnings
    #[default]
    Warning,
    /// None: only failures of the command do
    Never,
}
