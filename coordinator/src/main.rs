//! Binary `coordinator`: runs [`coordinator::cli`].

use std::process::ExitCode;

/// jemalloc, because the system's allocator holds each thread's peak of memory for large documents, and a long run grows
/// by that. It is configured in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Here and not in a library, so that a build that is told another commit compiles this file alone.
    let commit = option_env!("K8S_AUTO_FIX_COMMIT");
    coordinator::embedded::supervise().unwrap_or_else(|| coordinator::cli::main(commit))
}
