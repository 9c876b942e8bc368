//! Why a scanner gave no findings. An error names the scanner, what happened and the remedy: findings that could not be had
//! never look like none. Each says its causes itself: they are no sources, which would say them twice.

use std::io;
use std::path::PathBuf;

use domain::scanner::Scanner;

/// A scanner cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScannerError {
    /// Its program is not on this machine.
    #[error(
        "{scanner} not found: looked in {places}; `scripts/scanners {scanner}` provides it, or name it: --tool {scanner}=/path"
    )]
    Missing {
        /// Which.
        scanner: Scanner,
        /// Where it was looked for.
        places: String,
    },
    /// It needs policies.
    #[error(
        "{scanner} has no policies: {reason}; name their folder with --policies-dir (detector.policies_dir)"
    )]
    NoPolicies {
        /// Which.
        scanner: Scanner,
        /// Why.
        reason: String,
    },
    /// Its program cannot be started, or gives no usable output.
    #[error("{scanner} ({}): {failure}", .program.display())]
    Failed {
        /// Which.
        scanner: Scanner,
        /// Its program.
        program: PathBuf,
        /// What happened.
        failure: Failure,
    },
    /// The folder in which it is to work cannot be written.
    #[error("cannot write the documents for {scanner} into {}: {error}", .folder.display())]
    Scratch {
        /// Which.
        scanner: Scanner,
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What went wrong with a process of a scanner.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It cannot be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It did not end in time.
    #[error(
        "did not end within {seconds} s and was killed; scan fewer documents, or raise detector.timeout_seconds"
    )]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// It wrote too much.
    #[error("wrote more than {bytes} bytes and was killed; scan fewer documents")]
    Flood {
        /// The limit.
        bytes: u64,
    },
    /// It left processes behind that hold its output.
    #[error("ended, and left processes behind that hold its output; try another version of it")]
    Held,
    /// It ended badly.
    #[error("ended with {status}: {stderr}; run it by hand to see why, or try another version of it")]
    Died {
        /// Exit code or signal.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// It cannot apply policies of the user.
    #[error("cannot apply all policies: {list}; mend them, or take them out of the folder of policies")]
    Policies {
        /// Which, and why.
        list: String,
    },
    /// What it wrote is not what it should be.
    #[error(
        "wrote what cannot be read: {reason}; is this the program it is taken for, in a version known here?"
    )]
    Garbage {
        /// What is wrong.
        reason: String,
    },
}

impl Failure {
    /// Whether fewer documents may get by it.
    pub(crate) const fn may_be_of_a_document(&self) -> bool {
        matches!(self, Self::Died { .. } | Self::TimedOut { .. } | Self::Flood { .. } | Self::Garbage { .. })
    }
}
