//! The folder of one control plane, and those that killed processes left.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What the names of our folders begin with. Short: sockets lie in them, and their paths have a limit of 100 bytes.
const PREFIX: &str = "k8s-auto-fix-cp-";
/// A folder of this age without a holder was left behind; a younger one may be about to be held.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// A folder of our own, for as long as it is held.
pub(super) struct Scratch {
    folder: PathBuf,
    /// Locked: tells others that the folder is in use. The kernel lets go of it when we are killed.
    _lock: File,
}

impl Scratch {
    /// Makes a folder that only we can read.
    pub(super) fn make() -> io::Result<Self> {
        let root = std::env::temp_dir();
        remove_left(&root);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&root)?.keep();
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        DirBuilder::new().mode(0o700).create(folder.join("certs"))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that only we can read.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        use std::io::Write as _;
        let path = self.folder.join(name);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Removes a folder of a control plane that has ended.
pub(super) fn remove(folder: &Path) {
    // What was being written while its writer was killed may need a second look.
    for _ in 0..3 {
        match fs::remove_dir_all(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Removes the folders of ours that are held by none.
fn remove_left(root: &Path) {
    let us = rustix::process::getuid().as_raw();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let folder = entry.path();
        let Ok(found) = fs::symlink_metadata(&folder) else { continue };
        let age = found.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if !found.is_dir() || found.uid() != us || age.is_none_or(|age| age < LEFT_AFTER) {
            continue;
        }
        let held = File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_err());
        if !held {
            remove(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_folders_that_are_held_by_none_are_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let old = SystemTime::now() - Duration::from_secs(3_600);
        let make = |name: &str| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).expect("made");
            let lock = File::create(folder.join("lock")).expect("made");
            File::open(&folder).expect("opened").set_modified(old).expect("set");
            (folder, lock)
        };
        let (left, _) = make("k8s-auto-fix-cp-left");
        let (held, lock) = make("k8s-auto-fix-cp-held");
        let (other, _) = make("other");
        lock.try_lock().expect("locked");
        let target = root.path().join("target");
        fs::create_dir(&target).expect("made");
        std::os::unix::fs::symlink(&target, root.path().join("k8s-auto-fix-cp-link")).expect("linked");
        let fresh = root.path().join("k8s-auto-fix-cp-fresh");
        fs::create_dir(&fresh).expect("made");

        remove_left(root.path());
        assert!(!left.exists());
        assert!(held.exists() && other.exists() && target.exists() && fresh.exists());
    }

    #[test]
    fn a_folder_goes_with_its_holder() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::make().expect("made");
        scratch.write("a", "secret").expect("written");
        let folder = scratch.path().to_owned();
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("a"))), (0o700, 0o600));
        drop(scratch);
        assert!(!folder.exists());
    }
}
