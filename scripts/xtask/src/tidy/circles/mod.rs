//! Circles of files inside a crate, and imports against its layers.
//!
//! Reads the source as tokens: no macro is expanded, so what a macro declares is taken to be declared by the file that
//! calls it. Code that is compiled for tests alone does not count.

mod cycles;
mod modules;
mod parse;
mod resolve;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use cycles::Circle;
use modules::Crate;
use resolve::Edge;

/// Crates whose circles are listed, and do not fail the check. `sensitive`: each form of a text may hold each other (JSON in a
/// command in YAML), so that their readers call each other.
const ALLOWED: [&str; 1] = ["sensitive"];

/// Layers of a crate, the upper one first: a room imports from its own layer and those below. Rooms that do not exist
/// are skipped.
const LAYERS: [(&str, &[&[&str]]); 1] =
    [("coordinator", &[&["commands"], &["server"], &["run"], &["scheduler", "llm_gateway"], &["ledger"]])];

/// What is wrong with the imports of one target of a crate.
struct Findings {
    krate: String,
    circles: Vec<Circle>,
    upward: Vec<Edge>,
}

/// A sentence for each circle, and for each import against the layers.
pub(super) fn check(root: &Path, packages: &[Value]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for found in survey(root, packages)? {
        if !ALLOWED.contains(&found.krate.as_str()) {
            faults.extend(found.circles.iter().map(|circle| circle.describe(&found.krate)));
        }
        faults.extend(found.upward.iter().map(|edge| upward(&found.krate, edge)));
    }
    Ok(faults)
}

/// The same for every crate, those that are allowed included.
pub(super) fn list(root: &Path, packages: &[Value]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for found in survey(root, packages)? {
        lines.extend(found.circles.iter().map(|circle| circle.describe(&found.krate)));
        lines.extend(found.upward.iter().map(|edge| upward(&found.krate, edge)));
    }
    Ok(lines)
}

fn survey(root: &Path, packages: &[Value]) -> Result<Vec<Findings>> {
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        for target in package["targets"].as_array().into_iter().flatten() {
            let kinds: Vec<&str> =
                target["kind"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !kinds.contains(&"lib") && !kinds.contains(&"bin") {
                continue;
            }
            let file = Path::new(target["src_path"].as_str().context("a target without a file")?);
            found.push(findings(root, name, file)?);
        }
    }
    Ok(found)
}

fn findings(root: &Path, name: &str, file: &Path) -> Result<Findings> {
    let krate = Crate::read(root, file)?;
    let edges = krate.edges();
    let layers = LAYERS.iter().find(|(krate, _)| *krate == name).map_or(&[][..], |(_, layers)| *layers);
    let src = file.parent().and_then(|src| src.strip_prefix(root).ok()).unwrap_or(Path::new(""));
    Ok(Findings {
        krate: name.to_owned(),
        circles: cycles::find(&edges),
        upward: edges.into_iter().filter(|edge| is_upward(layers, src, edge)).collect(),
    })
}

fn is_upward(layers: &[&[&str]], src: &Path, edge: &Edge) -> bool {
    let layer = |file: &Path| {
        let room = file.strip_prefix(src).ok()?.components().next()?.as_os_str().to_str()?;
        let room = room.strip_suffix(".rs").unwrap_or(room);
        layers.iter().position(|rooms| rooms.contains(&room))
    };
    match (layer(&edge.from), layer(&edge.to)) {
        (Some(from), Some(to)) => to < from,
        _ => false,
    }
}

fn upward(krate: &str, edge: &Edge) -> String {
    format!("{krate}: against the layers: {edge}")
}
