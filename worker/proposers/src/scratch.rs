//! The folder of one process of a program.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

/// What the names of our folders begin with. Short: a socket lies in them, and its path has a limit of 100 bytes.
const PREFIX: &str = "k8s-auto-fix-p-";
/// Folders in folders that are opened for removal.
const DEPTH: usize = 64;

/// A folder that only we can read; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub(crate) fn make() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?.keep();
        let scratch = Self { folder };
        fs::set_permissions(&scratch.folder, fs::Permissions::from_mode(0o700))?;
        DirBuilder::new().mode(0o700).create(scratch.work())?;
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Where the program works, and may write.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// The socket of the supervisor.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("control")
    }

    /// Writes a file for the program.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.work().join(name);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    }

    /// Makes a folder for the program.
    pub(crate) fn make_folder(&self, name: &str) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(self.work().join(name))
    }

    /// Copies a file, or a folder with all below it, for the program.
    pub(crate) fn copy(&self, from: &Path) -> io::Result<()> {
        let name = from.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
        copy(from, &self.work().join(name))
    }

    /// Reads a file that the program wrote, if it is one and no longer than `most` bytes.
    pub(crate) fn read(&self, name: &str, most: u64) -> Result<String, String> {
        let unreadable = |error: io::Error| format!("its {name} cannot be read: {error}");
        let file = self.open(name).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(format!("its {name} is not a file any more"));
        }
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > most {
            return Err(format!("its {name} is longer than {most} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| format!("its {name} is not UTF-8"))
    }
}

impl Scratch {
    /// Opens a file of the program. Neither follows a link out of the folder, wherever it stands in the name, nor waits for
    /// the writer of a pipe.
    fn open(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut at = File::open(self.work())?;
        let mut names = name.split('/').peekable();
        while let Some(name) = names.next() {
            let flags = if names.peek().is_some() { flags | OFlags::DIRECTORY } else { flags };
            at = File::from(openat(&at, name, flags, Mode::empty())?);
        }
        Ok(at)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.folder).is_ok() || !self.folder.exists() {
            return;
        }
        // A program may have closed its folders to us.
        open_folders(&self.folder, DEPTH);
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot remove the folder of a program");
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::metadata(from)?.is_dir() {
        fs::copy(from, to)?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn open_folders(folder: &Path, depth: usize) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path(), depth - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_regular_file_is_read() {
        let scratch = Scratch::make().unwrap();
        scratch.write("manifest.yaml", "kind: Pod").unwrap();
        assert_eq!(scratch.read("manifest.yaml", 9).as_deref(), Ok("kind: Pod"));
        assert!(scratch.read("manifest.yaml", 8).unwrap_err().contains("longer than 8 bytes"));
        std::os::unix::fs::symlink("/etc/passwd", scratch.work().join("link")).unwrap();
        assert!(scratch.read("link", 100_000).unwrap_err().contains("cannot be read"));
        fs::create_dir(scratch.work().join("folder")).unwrap();
        assert!(scratch.read("folder", 9).unwrap_err().contains("not a file"));
        let status = std::process::Command::new("mkfifo").arg(scratch.work().join("pipe")).status();
        assert!(status.unwrap().success());
        assert!(scratch.read("pipe", 9).unwrap_err().contains("not a file"), "and does not wait");
        assert!(scratch.read("none", 9).is_err());
        scratch.make_folder("own").unwrap();
        scratch.write("own/a", "a").unwrap();
        assert_eq!(scratch.read("own/a", 9).as_deref(), Ok("a"));
        std::os::unix::fs::symlink("/etc", scratch.work().join("etc")).unwrap();
        assert!(scratch.read("etc/passwd", 100_000).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_folder_is_removed_whatever_is_in_it() {
        let scratch = Scratch::make().unwrap();
        let folder = scratch.path().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let deep = scratch.work().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x"), "x").unwrap();
        fs::set_permissions(scratch.work().join("a"), fs::Permissions::from_mode(0o0)).unwrap();
        drop(scratch);
        assert!(!folder.exists());
    }

    #[test]
    fn folders_are_copied_with_what_is_below_them() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("policies/more")).unwrap();
        fs::write(from.path().join("policies/more/a.yaml"), "a: 1").unwrap();
        let scratch = Scratch::make().unwrap();
        scratch.copy(&from.path().join("policies")).unwrap();
        assert_eq!(scratch.read("policies/more/a.yaml", 99).as_deref(), Ok("a: 1"));
        assert!(scratch.copy(&from.path().join("none")).is_err());
    }
}
