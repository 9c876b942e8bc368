//! Holds the workspace against its architecture: who may import whom, and who may bring what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Which of our crates a crate may use (outside its tests).
const ARROWS: [(&str, &[&str]); 11] = [
    ("analysis", &["dataset", "console", "domain"]),
    ("coordinator", &["worker", "llm", "proto", "dataset", "console", "domain"]),
    ("worker", &["engine", "llm", "mock-llm", "proto", "dataset", "console", "domain"]),
    ("engine", &["domain"]),
    ("llm", &["domain"]),
    ("mock-llm", &["llm", "domain"]),
    ("proto", &["domain"]),
    ("dataset", &["domain"]),
    ("console", &["domain"]),
    ("domain", &[]),
    ("xtask", &[]),
];

/// What a crate must never bring, directly.
const NEVER: [(&str, &[&str]); 7] = [
    ("domain", &["tokio", "tonic", "arrow", "parquet", "object_store", "polars"]),
    ("engine", &["tokio", "tonic", "arrow", "parquet", "rand", "polars"]),
    ("llm", &["tonic", "prost", "arrow", "parquet", "rusqlite", "polars", "kube", "json-patch"]),
    ("proto", &["arrow", "parquet", "polars", "rusqlite"]),
    ("dataset", &["tonic", "prost", "polars", "rusqlite"]),
    ("worker", &["polars", "rusqlite"]),
    ("coordinator", &["polars"]),
];

/// Files that alone may name a crate: (crate, folder, the one file, what it names).
const ALONE: [(&str, &str, &str, &str); 1] = [("coordinator", "coordinator/src", "embedded.rs", "worker")];

/// Compares the workspace with the tables above; returns a sentence for each difference.
pub fn check() -> Result<Vec<String>> {
    let root = root()?;
    let metadata = metadata(&root)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        faults.extend(arrows(name, package, &ours));
    }
    for (name, folder, file, named) in ALONE {
        faults.extend(imports(&root, name, folder, file, named)?);
    }
    Ok(faults)
}

fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().context("the workspace's folder is gone")
}

fn metadata(root: &Path) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata does not start")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")
}

fn arrows(name: &str, package: &Value, ours: &BTreeSet<&str>) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(krate, _)| *krate == name) else {
        return vec![format!("{name} is not in the table of arrows (scripts/xtask/src/tidy.rs)")];
    };
    let forbidden = NEVER.iter().find(|(krate, _)| *krate == name).map_or(&[][..], |(_, list)| *list);
    let mut faults = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let Some(other) = dependency["name"].as_str() else { continue };
        let for_tests = dependency["kind"].as_str() == Some("dev");
        if ours.contains(other) && !allowed.contains(&other) && !for_tests {
            faults.push(format!("{name} must not depend on {other}"));
        }
        if forbidden.contains(&other) && !for_tests {
            faults.push(format!("{name} must never bring {other}"));
        }
        if other == "polars" && name != "analysis" {
            faults.push(format!("{name} brings polars, which is for analysis alone"));
        }
    }
    faults
}

fn imports(root: &Path, name: &str, folder: &str, file: &str, named: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{} is gone", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with(file) {
                let text = std::fs::read_to_string(&path)?;
                let uses = |line: &str| {
                    let line = line.trim_start();
                    !line.starts_with("//")
                        && (line.contains(&format!("use {named}::"))
                            || line.contains(&format!(" {named}::"))
                            || line.contains(&format!("({named}::")))
                };
                if let Some(at) = text.lines().position(uses) {
                    let place = path.strip_prefix(root).unwrap_or(&path).display();
                    faults.push(format!("{place}:{}: {name} names {named} outside {file}", at + 1));
                }
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arrows_are_as_they_should_be() {
        assert_eq!(super::check().unwrap(), Vec::<String>::new());
    }
}
