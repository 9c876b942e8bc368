//! Sockets of coordinators on this machine, for programs of the same user.
//!
//! A coordinator that listens on a loopback address also listens on a Unix socket in a folder that only its user can enter;
//! its name is the address. Clients and workers of that user that are given `http://127.0.0.1:PORT` connect to the socket and
//! never to the port, which anyone on the machine could have bound. Both ends check the user id of the other.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Folder of the sockets, in the user's runtime folder.
const FOLDER: &str = "k8s-auto-fix";

/// The folders that sockets may be in, the preferred one first: `$XDG_RUNTIME_DIR/k8s-auto-fix`, then
/// `~/.local/state/k8s-auto-fix/run`.
pub fn folders() -> Vec<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let runtime = absolute("XDG_RUNTIME_DIR").map(|path| path.join(FOLDER));
    let home = absolute("HOME").map(|path| path.join(".local/state").join(FOLDER).join("run"));
    runtime.into_iter().chain(home).collect()
}

/// File name of the socket of a coordinator that listens on `address`.
pub fn name(address: SocketAddr) -> String {
    format!("{}-{}.sock", address.ip(), address.port())
}

/// User id of this process.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Checks that `path` is a folder of this user, that no one else can enter, and not a link.
pub fn check_folder(path: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    let problem = if !found.is_dir() {
        "is not a folder (links are not followed)"
    } else if found.uid() != own_uid() {
        "belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "can be entered by other users: chmod 700 it"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {problem}", path.display())))
}

/// Creates a folder that only this user can enter, whatever the umask, with the folders above it; one that exists is
/// closed to others if it is of this user.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = std::fs::symlink_metadata(path)?;
    if found.is_dir() && found.uid() == own_uid() && found.mode() & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    check_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_others_or_a_link_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (folder, link) = (root.path().join("a/b"), root.path().join("link"));
        create_folder(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let error = check_folder(&folder).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        create_folder(&folder).unwrap();
        check_folder(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        for refused in [check_folder(&link), create_folder(&link)] {
            assert!(refused.unwrap_err().to_string().contains("not a folder"));
        }
        if own_uid() == 0 {
            std::os::unix::fs::chown(&folder, Some(65534), None).unwrap();
            let error = create_folder(&folder).unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }

    #[test]
    fn the_name_of_a_socket_is_its_address() {
        assert_eq!(name("127.0.0.1:7070".parse().unwrap()), "127.0.0.1-7070.sock");
        assert_eq!(name("[::1]:7070".parse().unwrap()), "::1-7070.sock");
    }
}
