//! Why a file as a whole cannot be read: the file, the place, and the remedy.

use std::fmt;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it, unpacked.
    pub byte: u64,
    /// 1-based line and column (in bytes), where the file is text.
    pub line: Option<(u64, u64)>,
}

impl Place {
    /// A place in a file that has no lines.
    pub const fn byte(byte: u64) -> Self {
        Self { byte, line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some((line, column)) => write!(f, "line {line} column {column} (byte {})", self.byte),
            None => write!(f, "byte {}", self.byte),
        }
    }
}

/// Why a file as a whole cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {what}; {remedy}", At(*place))]
pub struct FileError {
    /// Which file.
    pub file: String,
    /// Where in it.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// The error of the system, where there is one.
    #[source]
    pub source: Option<std::io::Error>,
}

struct At(Option<Place>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |place| write!(f, ", {place}"))
    }
}

impl FileError {
    /// An error without one of the system.
    pub fn new(file: &str, place: Option<Place>, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { file: file.to_owned(), place, what: what.into(), remedy, source: None }
    }

    /// The file cannot be opened.
    pub fn open(file: &str, error: std::io::Error) -> Self {
        let what = format!("cannot be opened: {error}");
        Self { source: Some(error), ..Self::new(file, None, what, "check the path and its permissions") }
    }

    /// The file cannot be read on.
    pub fn read(file: &str, place: Option<Place>, error: std::io::Error) -> Self {
        let what = format!("cannot be read: {error}");
        Self {
            source: Some(error),
            ..Self::new(file, place, what, "check the disk, or fetch the file again")
        }
    }

    /// The file cannot be written.
    pub fn write(file: &str, error: std::io::Error) -> Self {
        let what = format!("cannot be written: {error}");
        Self {
            source: Some(error),
            ..Self::new(file, None, what, "check the space and the permissions there")
        }
    }
}
