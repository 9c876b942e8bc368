//! What our programs create is for their user alone, whatever the umask they are started with.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::Mode;

/// Makes every file that this process creates from now on 0600 and every folder 0700 at most, also those of libraries:
/// the files beside a database, temporary files. Call it first in `main`. Only files whose mode is set by hand differ.
pub fn create_for_owner_alone() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Takes the rights of others on a file away, which an older release may have left open. Nothing happens where there is
/// no such file, and where it is another user's.
///
/// # Errors
/// When its rights cannot be read or changed for another reason.
pub fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = match fs::symlink_metadata(path) {
        Ok(file) if file.is_file() => file.permissions().mode(),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let closed = mode & 0o700;
    if mode & 0o777 == closed {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(closed)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        changed => changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_others_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        close_to_others(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        close_to_others(&folder.path().join("none")).unwrap();
    }
}
