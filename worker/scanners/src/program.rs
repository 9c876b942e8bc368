//! The program of a scanner: where it is, and how long it may take.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::scanner::Scanner;

use crate::error::{Failure, ScannerError};
use crate::process::{self, Output};

/// The program of a scanner.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) scanner: Scanner,
    pub(crate) path: PathBuf,
    /// How long one process may take.
    pub(crate) time: Duration,
}

impl Program {
    pub(crate) fn run(&self, arguments: &[OsString], folder: &Path) -> Result<Output, Failure> {
        process::run(&self.path, arguments, folder, self.time)
    }

    pub(crate) fn failed(&self, failure: Failure) -> ScannerError {
        ScannerError::Failed { scanner: self.scanner, program: self.path.clone(), failure }
    }

    pub(crate) fn scratch(&self, folder: &Path, error: io::Error) -> ScannerError {
        ScannerError::Scratch { scanner: self.scanner, folder: folder.to_owned(), error }
    }
}
