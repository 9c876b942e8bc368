//! Error of a file that cannot be read as a whole, with the place and the remedy.

use std::fmt;

use crate::root::Refused;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset in the uncompressed bytes.
    pub byte: u64,
    /// 1-based line and column (in bytes), where the file is text.
    pub line: Option<(u64, u64)>,
}

impl Place {
    /// A place in a binary file.
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

/// A file as a whole cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {what}; {remedy}", At(*place))]
pub struct FileError {
    pub(crate) file: String,
    pub(crate) place: Option<Place>,
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
    #[source]
    pub(crate) source: Option<std::io::Error>,
}

struct At(Option<Place>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |place| write!(f, ", {place}"))
    }
}

impl FileError {
    /// An error without a cause in the operating system.
    pub fn new(file: &str, place: Option<Place>, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { file: file.to_owned(), place, what: what.into(), remedy, source: None }
    }

    /// Adds the cause in the operating system.
    #[must_use]
    pub fn with_source(self, source: std::io::Error) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The file cannot be opened.
    pub fn open(file: &str, error: std::io::Error) -> Self {
        let what = format!("cannot be opened: {error}");
        Self::new(file, None, what, "check the path and its permissions").with_source(error)
    }

    /// The file is not one that is read.
    pub fn refused(file: &str, refused: &Refused) -> Self {
        Self::new(file, None, refused.what(), refused.remedy())
    }

    /// Reading the file failed.
    pub fn read(file: &str, place: Option<Place>, error: std::io::Error) -> Self {
        let what = format!("cannot be read: {error}");
        Self::new(file, place, what, "check the disk, or fetch the file again").with_source(error)
    }

    /// The file cannot be written.
    pub fn write(file: &str, error: std::io::Error) -> Self {
        let what = format!("cannot be written: {error}");
        Self::new(file, None, what, "check the space and the permissions there").with_source(error)
    }
}
