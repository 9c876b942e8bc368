//! Processes between us and a program, so that nothing of it outlives us.
//!
//! A *supervisor* (this program again, see [`supervise`]) starts the program and ends it, with all its descendants, when its
//! connection to us is closed, which the kernel does when we are killed. Orphans of the program become children of the
//! supervisor, so that none escapes by leaving its process group. Where the kernel can, the program is killed with the
//! supervisor, and can neither write outside its folder nor send signals to other processes, nor read their environment.

mod child;
mod confine;
mod job;
mod supervisor;
mod tree;

use std::process::ExitCode;

pub use confine::{Confinement, confinement};
use job::CHILD;
pub(crate) use job::{End, Job, Limits, SUPERVISOR};

/// Runs this process as a part of a program's processes if its arguments say so, and gives its exit code. Call it first in
/// the `main` of a binary that asks programs: that starts the binary anew for it.
pub fn supervise() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == SUPERVISOR {
        Some(supervisor::run(arguments.next()))
    } else if first == CHILD {
        Some(child::become_program(arguments))
    } else {
        None
    }
}
