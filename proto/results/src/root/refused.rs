//! Why a file below a folder is neither read nor written.

use std::io;

use rustix::io::Errno;

/// Why a file below a folder is neither read nor written; shown with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.what(), self.remedy())]
pub enum Refused {
    /// A link on the way leads out of the folder, or is absolute.
    Outside,
    /// A link at the last component of what is written.
    Link,
    /// A link, on a system without `openat2`.
    Unfollowed,
    /// A folder where a file is needed.
    Folder,
    /// A named pipe, a socket or a device.
    Special(&'static str),
    /// A file whose bytes the kernel makes up, such as those in `/proc` and `/sys`.
    Kernel,
    /// A file with other names, which would go on to hold the old text.
    HardLinks,
    /// A file beyond the limit of who reads it, in bytes.
    TooLarge {
        /// What it holds, or what was read of it.
        bytes: u64,
        /// What is read at most.
        limit: u64,
    },
    /// There is no such file.
    Missing,
    /// Any other refusal of the system.
    System(String),
}

impl Refused {
    /// What is wrong, behind the name of the file.
    pub fn what(&self) -> String {
        match self {
            Self::Outside => {
                "is a link that leads out of its folder, or an absolute one, which is not followed".to_owned()
            }
            Self::Link => "is a link, and nothing is written through one".to_owned(),
            Self::Unfollowed => "is a link, and this system cannot follow one safely".to_owned(),
            Self::Folder => "is a folder, not a regular file".to_owned(),
            Self::Special(what) => format!("is a {what}, not a regular file"),
            Self::Kernel => "is a file of the kernel (as in /proc and /sys), which is not read".to_owned(),
            Self::HardLinks => "has other names (hard links), which would keep the old text".to_owned(),
            Self::TooLarge { bytes, limit } => {
                format!("{bytes} bytes are more than the {limit} that are read")
            }
            Self::Missing => "does not exist".to_owned(),
            Self::System(why) => why.clone(),
        }
    }

    /// What a person can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Outside | Self::Unfollowed => "name the file itself",
            Self::Link => "name the file itself, or put it in the place of the link",
            Self::Folder => "name a file",
            Self::Special(_) => "for a stream use standard input (-)",
            Self::Kernel => "copy what you need into a file",
            Self::HardLinks => "put a copy in its place",
            Self::TooLarge { .. } => "split the file or raise the limit",
            Self::Missing => "check the path",
            Self::System(_) => "check its permissions, and the room on its disk",
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self::System(error.to_string()),
        }
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        match errno {
            // What `RESOLVE_BENEATH` answers where a link leads out.
            Errno::XDEV => Self::Outside,
            Errno::NOENT => Self::Missing,
            Errno::ISDIR => Self::Folder,
            // What opening a socket answers.
            Errno::NXIO => Self::Special("socket"),
            other => Self::System(io::Error::from(other).to_string()),
        }
    }
}
