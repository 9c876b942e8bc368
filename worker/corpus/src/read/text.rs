//! The text of one file, within a limit.

use std::path::Path;

use results::input::encoding::{NotText, TextEncoding};
use results::root::{Refused, Root};

/// Why a file among others has no text. The others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum FileProblem {
    /// Beyond `limits.file_bytes`.
    #[error("{bytes} bytes are more than limits.file_bytes = {limit}; split the file or raise the limit")]
    TooLarge { bytes: u64, limit: u64 },
    /// Not text.
    #[error("{0}; save the file as UTF-8")]
    NotText(NotText),
    /// The system refused.
    #[error("cannot be read: {0}; check its permissions")]
    Unreadable(String),
    /// A member of an archive that cannot be unpacked.
    #[error("cannot be unpacked: {0}; pack the archive again")]
    Unpackable(String),
    /// A link to a folder.
    #[error("is a link to a folder, which is not followed; name that folder instead")]
    FolderLink,
    /// Longer than any path of an operating system.
    #[error("its name has {bytes} bytes, of which the first are shown, and {limit} are the most; rename it")]
    LongName { bytes: u64, limit: usize },
    /// A link that leads out of its folder, or what is not a regular file.
    #[error("{0}")]
    Refused(Refused),
}

impl From<Refused> for FileProblem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            Refused::System(why) => Self::Unreadable(why),
            refused => Self::Refused(refused),
        }
    }
}

/// The text of one file, within `limit` bytes.
pub(super) fn read_text(root: &Root, below: &Path, limit: u64) -> Result<String, FileProblem> {
    as_text(root.read(below, limit)?)
}

/// The text that the bytes of a file are, in UTF-8 or UTF-16.
pub(crate) fn as_text(bytes: Vec<u8>) -> Result<String, FileProblem> {
    TextEncoding::of(&bytes).decode(bytes).map_err(FileProblem::NotText)
}
