//! Opens a path below a folder, and tells regular files from others.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{self as sys, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::kind::Kind;
use super::refused::Refused;

/// Opens what lies at `below` a folder.
pub(super) fn open_below(folder: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Refused> {
    if !is_below(below) {
        return Err(Refused::Outside);
    }
    let flags = flags | OFlags::CLOEXEC;
    match resolve(folder, below, flags) {
        // A kernel before 5.6, a system without the call, or a sandbox that denies it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(folder, below, flags),
        opened => opened.map_err(Refused::from),
    }
}

/// Opens a regular file that a person named, following links to it.
///
/// # Errors
/// [`Refused`] for what is not a regular file on a disk.
pub fn named(path: &Path) -> Result<File, Refused> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(sys::open(path, flags, Mode::empty())?);
    regular(&file)?;
    Ok(file)
}

/// Refuses what is open but not a regular file on a disk.
pub(super) fn regular(file: &File) -> Result<(), Refused> {
    match Kind::of(FileType::from_raw_mode(sys::fstat(file)?.st_mode)) {
        Kind::File if is_of_the_kernel(file)? => Err(Refused::Kernel),
        Kind::File => Ok(()),
        Kind::Folder => Err(Refused::Folder),
        Kind::Link => Err(Refused::Unfollowed),
        Kind::Special(what) => Err(Refused::Special(what)),
    }
}

/// All of a file of at most `limit` bytes.
pub(super) fn whole(file: File, limit: u64) -> Result<Vec<u8>, Refused> {
    let length = file.metadata()?.len();
    if length > limit {
        return Err(Refused::TooLarge { bytes: length, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if length == 0 && !bytes.is_empty() {
        return Err(Refused::Kernel);
    }
    if bytes.len() as u64 > limit {
        return Err(Refused::TooLarge { bytes: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

/// Whether the path has names alone, and at least one.
fn is_below(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(target_os = "linux")]
fn resolve(folder: BorrowedFd<'_>, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    /// The kernel asks to repeat the call where a folder was moved meanwhile.
    const TRIES: usize = 64;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        opened = sys::openat2(folder, below, flags, Mode::empty(), how);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened
}

#[cfg(not(target_os = "linux"))]
fn resolve(_: BorrowedFd<'_>, _: &Path, _: OFlags) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// Opens one component after the other, and follows no link.
pub(super) fn step_by_step(folder: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Refused> {
    let mut at: Option<OwnedFd> = None;
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let within = at.as_ref().map_or(folder, AsFd::as_fd);
        let flags = match parts.peek() {
            Some(_) => OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            None => flags,
        };
        let opened = sys::openat(within, part.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty());
        at = Some(opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::MLINK => Refused::Unfollowed,
            // A link where a folder is asked for.
            Errno::NOTDIR if is_link(within, part) => Refused::Unfollowed,
            other => other.into(),
        })?);
    }
    at.ok_or(Refused::Missing)
}

fn is_link(folder: BorrowedFd<'_>, part: Component<'_>) -> bool {
    let stat = sys::statat(folder, part.as_os_str(), sys::AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Whether the kernel makes up what the file holds.
#[cfg(target_os = "linux")]
fn is_of_the_kernel(file: &File) -> rustix::io::Result<bool> {
    /// `SYSFS_MAGIC` of linux/magic.h.
    const SYSFS: sys::FsWord = 0x6265_6572;
    let system = sys::fstatfs(file)?.f_type;
    Ok(system == sys::PROC_SUPER_MAGIC || system == SYSFS)
}

#[cfg(not(target_os = "linux"))]
fn is_of_the_kernel(_: &File) -> rustix::io::Result<bool> {
    Ok(false)
}
