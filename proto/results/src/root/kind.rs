//! What a name in a folder can stand for.

use rustix::fs::FileType;

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, to whatever.
    Link,
    /// What is neither: a named pipe, a socket, a device.
    Special(&'static str),
}

impl Kind {
    pub(super) fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Special("named pipe"),
            FileType::Socket => Self::Special("socket"),
            FileType::CharacterDevice | FileType::BlockDevice => Self::Special("device"),
            FileType::Unknown => Self::Special("special file"),
        }
    }
}
