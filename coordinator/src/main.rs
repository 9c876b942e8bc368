//! `coordinator`: see [`coordinator::cli`].

use std::process::ExitCode;

/// Many threads take turns with large documents: the system's allocator keeps what each of them once needed, and a long
/// run grows by that. `.cargo/config.toml` says how this one is set up.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    coordinator::cli::main()
}
