//! Starts programs for the tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    proposers::supervise().unwrap_or(ExitCode::from(2))
}
