//! What the processes of a program tell each other.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// First argument of a supervisor; the second is the path of the socket that it connects to.
pub(crate) const SUPERVISOR: &str = "__proposer-supervisor";
/// First argument of a process that is about to become a program.
pub(super) const CHILD: &str = "__proposer-child";

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
