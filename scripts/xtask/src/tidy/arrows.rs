//! Dependencies of crates: which of our crates a crate may use, and which external crates it must not depend on.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Which of our crates a crate may use (outside its tests).
const ARROWS: [(&str, &[&str]); 18] = [
    ("analysis", &["results", "cli-support", "domain", "sensitive"]),
    ("coordinator", &["probe", "worker", "corpus", "llm", "proto", "results", "cli-support", "domain"]),
    ("probe", &["cli-support", "domain", "llm"]),
    (
        "worker",
        &[
            "api-server",
            "engine",
            "paper",
            "proposers",
            "corpus",
            "llm",
            "mock-llm",
            "proto",
            "results",
            "scanners",
            "cli-support",
            "domain",
            "sensitive",
        ],
    ),
    ("api-server", &["engine", "domain"]),
    ("engine", &["domain", "sensitive"]),
    ("paper", &["engine", "domain"]),
    ("proposers", &["engine", "domain", "sensitive"]),
    ("scanners", &["domain"]),
    ("corpus", &["engine", "results", "domain"]),
    ("llm", &["domain"]),
    ("mock-llm", &["cli-support", "llm", "domain"]),
    ("proto", &["domain"]),
    ("results", &["domain"]),
    ("cli-support", &["domain"]),
    ("domain", &[]),
    ("sensitive", &[]),
    ("xtask", &[]),
];

/// What no crate may depend on: Parquet's own arrow crates are enough, and figures are folded over their batches.
const HEAVY: [&str; 3] = ["arrow", "datafusion", "polars"];

/// What a crate must never bring, directly.
const NEVER: [(&str, &[&str]); 10] = [
    ("domain", &["tokio", "tonic", "arrow-array", "parquet", "object_store"]),
    ("engine", &["tokio", "tonic", "arrow-array", "parquet", "rand"]),
    ("paper", &["tokio", "tonic", "arrow-array", "parquet", "rand"]),
    ("api-server", &["tonic", "prost", "arrow-array", "parquet", "rusqlite"]),
    ("scanners", &["tokio", "tonic", "prost", "arrow-array", "parquet", "rusqlite"]),
    ("llm", &["tonic", "prost", "arrow-array", "parquet", "rusqlite", "kube", "json-patch"]),
    ("proto", &["arrow-array", "parquet", "rusqlite"]),
    ("results", &["tonic", "prost", "rusqlite"]),
    ("corpus", &["tokio", "tonic", "prost", "rusqlite"]),
    ("worker", &["rusqlite"]),
];

/// Files that alone may name a crate: (crate, folder, the one file, what it names).
const ALONE: [(&str, &str, &str, &str); 1] = [("coordinator", "coordinator/src", "embedded.rs", "worker")];

/// Compares the dependencies of every crate with the tables above.
pub(super) fn check(root: &Path, packages: &[Value]) -> Result<Vec<String>> {
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        faults.extend(arrows(name, package, &ours));
    }
    for (name, folder, file, named) in ALONE {
        faults.extend(imports(root, name, folder, file, named)?);
    }
    Ok(faults)
}

fn arrows(name: &str, package: &Value, ours: &BTreeSet<&str>) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(krate, _)| *krate == name) else {
        return vec![format!("{name} is not in the table of arrows (scripts/xtask/src/tidy/arrows.rs)")];
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
        if HEAVY.contains(&other) {
            faults.push(format!("{name} must not depend on {other}: it adds minutes to every first build"));
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
