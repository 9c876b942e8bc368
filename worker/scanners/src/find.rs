//! Where the programs of scanners are: at a named path, on PATH, or where `scripts/scanners` puts them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use domain::scanner::Scanner;

use crate::error::ScannerError;

/// The names of a scanner's program.
const fn names(scanner: Scanner) -> &'static [&'static str] {
    match scanner {
        Scanner::Builtin => &[],
        Scanner::KubeLinter => &["kube-linter"],
        Scanner::Kyverno => &["kyverno", "kubectl-kyverno"],
        Scanner::Checkov => &["checkov"],
    }
}

/// Finds the program of a scanner; `named`: its path, where the user named one.
pub(crate) fn find(scanner: Scanner, named: &str) -> Result<PathBuf, ScannerError> {
    let cache = cache().map(|cache| cache.join("tools").join(scanner.as_str()));
    find_in(scanner, named, env::var_os("PATH").as_deref(), cache.as_deref())
}

/// Our folder in the user's cache.
pub(crate) fn cache() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("k8s-auto-fix"))
}

fn find_in(
    scanner: Scanner,
    named: &str,
    path: Option<&OsStr>,
    cache: Option<&Path>,
) -> Result<PathBuf, ScannerError> {
    let missing = |places: String| ScannerError::Missing { scanner, places };
    if !named.is_empty() {
        // The process is started in another folder.
        let found = fs::canonicalize(named).ok().filter(|path| is_program(path));
        return found.ok_or_else(|| missing(format!("{named}, which is not an executable file")));
    }
    let on_path = path.map(|path| env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let candidates =
        on_path.iter().flat_map(|folder| names(scanner).iter().map(move |name| folder.join(name)));
    let in_cache = cache.map(versions).unwrap_or_default();
    let cached = in_cache.iter().flat_map(|folder| {
        let of = move |name: &&str| [folder.join(name), folder.join("bin").join(name)];
        names(scanner).iter().flat_map(of)
    });
    // A relative folder on PATH is another one in the folder of the process.
    let found = candidates
        .chain(cached)
        .find(|path| is_program(path))
        .and_then(|path| std::path::absolute(path).ok());
    found.ok_or_else(|| {
        let cache = cache.map(|cache| format!(" and {}", cache.display())).unwrap_or_default();
        missing(format!("PATH{cache}"))
    })
}

/// The folders of versions in the cache, the newest first.
fn versions(cache: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(cache).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u64>, PathBuf)> = listed
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let numbers: Option<Vec<u64>> = name.split('.').map(|number| number.parse().ok()).collect();
            Some((numbers?, entry.path()))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

pub(crate) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_named_path_beats_path_and_path_beats_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let (bin, cache) = (root.join("bin"), root.join("cache"));
        let find = |named: &str| find_in(Scanner::Kyverno, named, Some(bin.as_os_str()), Some(&cache));
        let error = find("").unwrap_err().to_string();
        assert!(
            error.contains("`scripts/scanners kyverno` provides it") && error.contains("--tool kyverno="),
            "{error}"
        );
        for version in ["1.9.0", "1.19.1", "x"] {
            place(&cache.join(version).join("kyverno"), 0o755);
        }
        assert_eq!(find("").unwrap(), cache.join("1.19.1/kyverno"));
        place(&bin.join("kyverno"), 0o644);
        assert_eq!(
            find("").unwrap(),
            cache.join("1.19.1/kyverno"),
            "a file that is not executable is no program"
        );
        place(&bin.join("kubectl-kyverno"), 0o755);
        assert_eq!(find("").unwrap(), bin.join("kubectl-kyverno"));
        let other = root.join("other");
        let error = find(other.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("not an executable file"), "{error}");
        place(&other, 0o755);
        assert_eq!(find(other.to_str().unwrap()).unwrap(), other);
    }

    #[test]
    fn a_virtual_environment_is_a_place_too() {
        let root = tempfile::tempdir().unwrap();
        place(&root.path().join("3.3.30/bin/checkov"), 0o755);
        let found = find_in(Scanner::Checkov, "", None, Some(root.path())).unwrap();
        assert_eq!(found, root.path().join("3.3.30/bin/checkov"));
    }
}
