//! Where the settings of a repository are.

use std::path::{Path, PathBuf};

/// What the file is called.
pub(super) const NAME: &str = ".k8s-auto-fix.yaml";

/// The nearest file with settings, from `path` (`-`: the working folder) up to the folder that has `.git`. Where none has, up to
/// the working folder, and no further: a folder above may be another person's.
pub(super) fn nearest(path: &str) -> Option<PathBuf> {
    let working = std::env::current_dir().ok()?;
    let named = if path == "-" { working.clone() } else { Path::new(path).canonicalize().ok()? };
    let start = if named.is_dir() { named.as_path() } else { named.parent()? };
    let is_repository = |folder: &&Path| folder.join(".git").symlink_metadata().is_ok();
    let last = start.ancestors().find(is_repository).unwrap_or_else(|| {
        let working = working.canonicalize().unwrap_or(working);
        start.ancestors().find(|folder| **folder == *working).unwrap_or(start)
    });
    let folders = start.ancestors().take_while(|folder| folder.starts_with(last));
    // A link is found too, so that one that leads out is refused and not overlooked.
    folders.map(|folder| folder.join(NAME)).find(|file| file.symlink_metadata().is_ok())
}
