//! Rooms: how many entries one level of a source folder has.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The most files and folders on one level.
const MOST: usize = 20;

/// Folders that may be larger, and why.
const LARGE: [(&str, &str); 2] = [
    ("worker/engine/src/policies", "one file a policy"),
    ("worker/engine/src/schema/rules", "one file a family of kinds"),
];

/// A sentence for each folder of source files with too many entries.
pub(super) fn check(root: &Path, packages: &[Value]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in packages {
        let manifest = Path::new(package["manifest_path"].as_str().context("a package without a manifest")?);
        faults.extend(large(root, &manifest.with_file_name("src"))?);
    }
    Ok(faults)
}

fn large(root: &Path, src: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut folders = vec![src.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let mut entries = 0;
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            entries += 1;
            if path.is_dir() {
                folders.push(path);
            }
        }
        let place = folder.strip_prefix(root).unwrap_or(&folder);
        let allowed = LARGE.iter().any(|(large, _)| Path::new(large) == place);
        if entries > MOST && !allowed {
            faults.push(format!("{}: {entries} entries on one level, {MOST} are the most", place.display()));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_too_many_entries_is_named() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("src/inner");
        std::fs::create_dir_all(&inner).unwrap();
        for at in 0..MOST {
            std::fs::write(inner.join(format!("{at}.rs")), "").unwrap();
        }
        assert_eq!(large(root.path(), &root.path().join("src")).unwrap(), Vec::<String>::new());
        std::fs::write(inner.join("more.rs"), "").unwrap();
        assert_eq!(
            large(root.path(), &root.path().join("src")).unwrap(),
            ["src/inner: 21 entries on one level, 20 are the most"]
        );
    }
}
