//! `analysis`: see the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Here and not in a library, so that a build that is told another commit compiles this file alone.
    analysis::main(option_env!("K8S_AUTO_FIX_COMMIT"))
}
