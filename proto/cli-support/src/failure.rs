//! Prints a failure once: the program, the chain of causes, and the hints.
//!
//! Libraries return typed errors. A command wraps them with context, and with a hint where there is a remedy
//! ([`WithHint`]); `main` hands its result to [`finish`], the only place that prints a failure.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::exit::Exit;
use crate::output::visible;

/// Marks an error as an interruption: [`finish`] ends the process with [`Exit::Interrupted`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// An error with a remedy. Shows itself as the error that it carries.
struct Hinted {
    hint: String,
    error: anyhow::Error,
}

impl fmt::Debug for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The carried error itself, so that it stays findable by type; its repeated text is printed once.
        Some(self.error.as_ref())
    }
}

/// Adds a remedy to a failure.
pub trait WithHint<T> {
    /// Adds the sentence that `hint: …` shows when this failure ends the program.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(Hinted { hint: hint.into(), error: error.into() }))
    }
}

/// The text of a failure: `program: cause: cause`, then a line `hint: …` for each remedy. A cause whose words the
/// cause before it already holds is not repeated.
pub fn describe(program: &str, error: &anyhow::Error) -> String {
    let mut text = visible(program).into_owned();
    let mut hints = Vec::new();
    let mut last = String::new();
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>()
            && !hints.contains(&hinted.hint)
        {
            hints.push(hinted.hint.clone());
        }
        let message = cause.to_string();
        if !last.contains(&message) {
            let _ = write!(text, ": {}", visible(&message));
            last = message;
        }
    }
    for hint in hints {
        let _ = write!(text, "\nhint: {}", visible(&hint));
    }
    text.push('\n');
    text
}

/// Whether the reader closed our output (as `head` does), which counts as success.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// The exit code of a failure.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        Exit::Fine
    } else if error.chain().any(<dyn Error>::is::<Interrupted>) {
        Exit::Interrupted
    } else {
        Exit::Failure
    }
}

/// The last line of `main`: prints a failure to stderr and gives the process its exit code.
pub fn finish(program: &str, result: anyhow::Result<Exit>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            let exit = exit_of(&error);
            if exit != Exit::Fine {
                let _ = io::stderr().write_all(describe(program, &error).as_bytes());
            }
            exit
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn missing() -> Result<(), io::Error> {
        Err(io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    #[test]
    fn causes_and_hints_are_printed_once() {
        let error = missing().hint("name another file").context("cannot read the corpus").unwrap_err();
        assert_eq!(
            describe("worker", &error),
            "worker: cannot read the corpus: no such file\nhint: name another file\n"
        );
        assert_eq!(exit_of(&error), Exit::Failure);
    }

    #[test]
    fn a_cause_that_the_text_already_holds_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open x: {0}")]
        struct Outer(#[source] io::Error);
        let error = anyhow::Error::new(missing().map_err(Outer).unwrap_err());
        assert_eq!(describe("p", &error), "p: cannot open x: no such file\n");
    }

    #[test]
    fn a_cause_within_the_text_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open x: {0}; check the path")]
        struct WithRemedy(#[source] io::Error);
        let error = anyhow::Error::new(missing().map_err(WithRemedy).unwrap_err());
        assert_eq!(describe("p", &error), "p: cannot open x: no such file; check the path\n");
    }

    #[test]
    fn a_hint_hides_no_type() {
        let error = Err::<(), _>(Interrupted).hint("run it again to continue").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Interrupted);
        assert_eq!(describe("p", &error), "p: interrupted\nhint: run it again to continue\n");
    }

    #[test]
    fn a_broken_pipe_is_success() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Fine);
    }

    #[test]
    fn a_failure_cannot_steer_the_terminal() {
        let error = anyhow::anyhow!("no file \u{1b}[2Jx");
        assert_eq!(describe("p", &error), "p: no file \\u{1b}[2Jx\n");
    }
}
