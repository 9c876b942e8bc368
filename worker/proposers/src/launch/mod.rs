//! Processes between us and a program, so that nothing of it outlives us.
//!
//! A *supervisor* (this program again, see [`supervise`]) starts the program and ends it, with all its descendants, when its
//! connection to us is closed, which the kernel does when we are killed. Orphans of the program become children of the
//! supervisor, so that none escapes by leaving its process group. Where the kernel can, the program is killed with the
//! supervisor, and can neither write outside its folder nor send signals to other processes, nor read their environment.

mod child;
mod confine;
mod supervisor;
mod tree;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub use confine::{Confinement, confinement};

/// First argument of a supervisor; the second is the path of the socket that it connects to.
pub(crate) const SUPERVISOR: &str = "__proposer-supervisor";
/// First argument of a process that is about to become a program.
const CHILD: &str = "__proposer-child";

/// What a supervisor is told, in one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    pub(crate) limits: Limits,
    /// The folder that the program works in: the only one where it may write.
    pub(crate) folder: PathBuf,
    /// What to remove where we are gone.
    pub(crate) scratch: PathBuf,
}

/// What a program may use.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Of the program and all its descendants together.
    pub(crate) memory_bytes: u64,
    /// Descendants of the program.
    pub(crate) children: u32,
    pub(crate) open_files: u64,
    /// Longest file that it may write.
    pub(crate) file_bytes: u64,
}

/// How a program ended: what a supervisor says last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// In words.
    pub(crate) how: String,
    /// `None`: it did not exit by itself.
    pub(crate) code: Option<i32>,
}

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
