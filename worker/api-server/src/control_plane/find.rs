//! Where the programs of a control plane are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server that does not say its version in this time is none.
const SAYS_VERSION_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of that answer.
const VERSION_BYTES: u64 = 4096;

/// The programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Path of kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// Path of etcd.
    pub etcd: PathBuf,
    /// Version of kube-apiserver, e.g. `1.37.2`.
    pub version: String,
}

/// The programs are not on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing is there.
    #[error(
        "{version} not found: looked in {places}; `scripts/control-plane{argument}` provides it, or set KUBEBUILDER_ASSETS"
    )]
    Missing {
        /// What was looked for, e.g. `kube-apiserver 1.37 and etcd`.
        version: String,
        /// Where.
        places: String,
        /// Argument of the script that provides it.
        argument: String,
    },
    /// The text is not a version of Kubernetes.
    #[error("{0} is not a version of Kubernetes such as 1.37 or 1.37.2")]
    Version(String),
}

/// Finds the programs of `version` (`1.37` or `1.37.2`), or those that are there, the newest first: in the folder that
/// `KUBEBUILDER_ASSETS` names, then in the cache that `scripts/control-plane` fills.
pub fn find(version: Option<&str>) -> Result<Programs, FindError> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let cache = cache.map(|cache| cache.join("k8s-auto-fix/control-plane"));
    find_in(folder("KUBEBUILDER_ASSETS").as_deref(), cache.as_deref(), version)
}

fn find_in(
    assets: Option<&Path>,
    cache: Option<&Path>,
    version: Option<&str>,
) -> Result<Programs, FindError> {
    let wanted = version.map(|version| version.trim_start_matches('v'));
    if let Some(wanted) = wanted
        && numbers(wanted).is_none()
    {
        return Err(FindError::Version(wanted.to_owned()));
    }
    let fits = |found: &str| {
        wanted.is_none_or(|wanted| {
            found == wanted || found.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    if let Some(folder) = assets
        && let Some(found) = version_of(folder)
        && fits(&found)
    {
        return Ok(programs(folder, found));
    }
    let listed = cache.and_then(|cache| std::fs::read_dir(cache).ok()).into_iter().flatten();
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut versions: Vec<(Vec<u32>, String)> =
        names.filter(|name| fits(name)).filter_map(|name| Some((numbers(&name)?, name))).collect();
    versions.sort_unstable();
    for (_, name) in versions.into_iter().rev() {
        let folder = cache.map(|cache| cache.join(&name)).unwrap_or_default();
        if holds_both(&folder) {
            return Ok(programs(&folder, name));
        }
    }
    let places: Vec<String> =
        [assets, cache].into_iter().flatten().map(|place| place.display().to_string()).collect();
    Err(FindError::Missing {
        version: wanted.map_or_else(
            || "kube-apiserver and etcd".to_owned(),
            |wanted| format!("kube-apiserver {wanted} and etcd"),
        ),
        places: if places.is_empty() { "no folder (HOME is not set)".to_owned() } else { places.join(", ") },
        argument: wanted.map(|wanted| format!(" {wanted}")).unwrap_or_default(),
    })
}

/// `1.37` or `1.37.2`.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers.filter(|numbers| matches!(numbers.len(), 2 | 3))
}

fn holds_both(folder: &Path) -> bool {
    folder.join("kube-apiserver").is_file() && folder.join("etcd").is_file()
}

fn programs(folder: &Path, version: String) -> Programs {
    Programs { kube_apiserver: folder.join("kube-apiserver"), etcd: folder.join("etcd"), version }
}

/// What the server in a folder says of itself: `Kubernetes v1.37.2`.
fn version_of(folder: &Path) -> Option<String> {
    use std::io::Read as _;
    if !holds_both(folder) {
        return None;
    }
    let mut child = Command::new(folder.join("kube-apiserver"))
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let start = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if start.elapsed() > SAYS_VERSION_WITHIN {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut text = String::new();
    child.stdout.take()?.take(VERSION_BYTES).read_to_string(&mut text).ok()?;
    let version = text.trim().strip_prefix("Kubernetes v")?;
    numbers(version).map(|_| version.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place(folder: &Path, version: &str) {
        fs::create_dir_all(folder).expect("a folder");
        for name in ["kube-apiserver", "etcd"] {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\necho Kubernetes v{version}\n")).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("executable");
        }
    }

    #[test]
    fn the_newest_patch_is_taken() {
        let root = tempfile::tempdir().expect("a folder");
        for version in ["1.36.3", "1.37.2", "1.37.10", ".work-1", "1.99.0"] {
            place(&root.path().join(version), version);
        }
        fs::remove_file(root.path().join("1.99.0/etcd")).expect("removed");
        let found = |version| find_in(None, Some(root.path()), version).map(|found| found.version);
        assert_eq!(found(None).as_deref(), Ok("1.37.10"));
        assert_eq!(found(Some("1.37.2")).as_deref(), Ok("1.37.2"));
        assert_eq!(found(Some("v1.36")).as_deref(), Ok("1.36.3"));
        let error = found(Some("1.3")).expect_err("1.3 is not 1.36");
        assert!(error.to_string().contains("`scripts/control-plane 1.3`"), "{error}");
        assert_eq!(found(Some("../x")), Err(FindError::Version("../x".to_owned())));
    }

    #[test]
    fn assets_count_where_they_are_of_the_version() {
        let root = tempfile::tempdir().expect("a folder");
        let (assets, cache) = (root.path().join("assets"), root.path().join("cache"));
        place(&assets, "1.35.1");
        place(&cache.join("1.37.2"), "1.37.2");
        let found =
            |version| find_in(Some(&assets), Some(&cache), version).map(|found| (found.version, found.etcd));
        assert_eq!(found(None), Ok(("1.35.1".to_owned(), assets.join("etcd"))));
        assert_eq!(found(Some("1.37")), Ok(("1.37.2".to_owned(), cache.join("1.37.2/etcd"))));
    }
}
