//! Exit codes; a contract with scripts.

use std::process::ExitCode;

/// How a command ended.
///
/// | code | meaning |
/// | --- | --- |
/// | 0 | fine |
/// | 1 | it worked, and it found or rejected something |
/// | 2 | it failed, or the command line was wrong |
/// | 130 | it was interrupted (Ctrl-C) |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Nothing to report.
    Fine = 0,
    /// The command worked and has findings or rejects to report.
    Findings = 1,
    /// The command could not do its work.
    Failure = 2,
    /// The command was interrupted before its end.
    Interrupted = 130,
}

impl Exit {
    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// `Findings` when something was found, `Fine` otherwise.
    pub const fn found(any: bool) -> Self {
        if any { Self::Findings } else { Self::Fine }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_rely_on() {
        let codes = [Exit::Fine, Exit::Findings, Exit::Failure, Exit::Interrupted].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 130]);
        assert_eq!((Exit::found(true), Exit::found(false)), (Exit::Findings, Exit::Fine));
    }
}
