//! Atomic replacement of files.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Replaces or creates `path`. A reader gets either the old file or the new one, never a part; the file's mode and
/// symbolic links to it are kept. A new file is readable by its owner alone if it is `private`.
pub(crate) fn replace(path: &Path, text: &str, private: bool) -> io::Result<()> {
    // Replace the file that a link points to, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(permissions) = permissions(&target, private) {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Permissions of the replaced file; for a new file 0644, or those of the temporary file if it is private.
fn permissions(target: &Path, private: bool) -> Option<fs::Permissions> {
    if let Ok(metadata) = fs::metadata(target) {
        return Some(metadata.permissions());
    }
    #[cfg(unix)]
    if !private {
        use std::os::unix::fs::PermissionsExt;
        return Some(fs::Permissions::from_mode(0o644));
    }
    // Only used on Unix.
    let _ = private;
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn mode_and_links_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.yaml"), folder.path().join("l.yaml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a.yaml", &link).unwrap();
        replace(&link, "new", false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (secret, plain) = (folder.path().join("s.yaml"), folder.path().join("p.yaml"));
        replace(&secret, "x", true).unwrap();
        replace(&plain, "x", false).unwrap();
        assert_eq!((mode(&secret), mode(&plain)), (0o600, 0o644));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing is left behind");
    }
}
