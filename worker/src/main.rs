//! `worker`: see [`worker::cli`].

use std::process::ExitCode;

/// jemalloc, configured by `.cargo/config.toml`: the system allocator keeps the peak memory of every thread that once
/// parsed a large document, so a long run would grow.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Here and not in a library, so that a build that is told another commit compiles this file alone.
    worker::cli::main(option_env!("K8S_AUTO_FIX_COMMIT"))
}
