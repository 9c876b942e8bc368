//! A disk small enough to be filled: a tmpfs of our own, where that is permitted.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub(super) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mebibytes` at `folder`.
    pub(super) fn mount(folder: &Path, mebibytes: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={mebibytes}m");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder)
            .output()
            .context("mount does not start")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Fills it to the last byte.
    pub(super) fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.filler())?;
        let mut room = vec![0; 1 << 20];
        while !room.is_empty() {
            // What does not fit may have been written in part: smaller pieces find the rest of the room.
            if filler.write_all(&room).is_err() {
                room.truncate(room.len() / 2);
            }
        }
        Ok(())
    }

    pub(super) fn clear(&self) {
        let _ = std::fs::remove_file(self.filler());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        release(&self.folder);
    }
}

/// Unmounts what lies at `folder`, if anything does: also what a task that was killed had left there.
pub(super) fn release(folder: &Path) {
    if folder.exists() {
        // Nothing mounted there is no fault.
        let _ = Command::new("umount").arg(folder).output();
    }
}
