//! The text of one file, within a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file among others has no text. The others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum FileProblem {
    /// Beyond `limits.file_bytes`.
    #[error("{bytes} bytes are more than limits.file_bytes = {limit}; split the file or raise the limit")]
    TooLarge { bytes: u64, limit: u64 },
    /// Not UTF-8.
    #[error("not UTF-8 at byte {byte}; save the file as UTF-8")]
    NotUtf8 { byte: usize },
    /// The system refused.
    #[error("cannot be read: {0}; check its permissions")]
    Unreadable(String),
    /// A link to a folder.
    #[error("is a link to a folder, which is not followed; name that folder instead")]
    FolderLink,
}

/// The text of one file, within `limit` bytes.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, FileProblem> {
    let unreadable = |error: io::Error| FileProblem::Unreadable(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > limit {
        return Err(FileProblem::TooLarge { bytes: length, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(FileProblem::TooLarge { bytes: bytes.len() as u64, limit });
    }
    as_text(bytes)
}

pub(super) fn as_text(bytes: Vec<u8>) -> Result<String, FileProblem> {
    String::from_utf8(bytes).map_err(|error| FileProblem::NotUtf8 { byte: error.utf8_error().valid_up_to() })
}
