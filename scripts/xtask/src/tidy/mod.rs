//! Compares the workspace with its architecture: dependencies of crates, circles of files, rooms and layers.

mod arrows;
mod circles;
mod rooms;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A sentence for each difference between the workspace and its architecture.
pub fn check() -> Result<Vec<String>> {
    let root = root()?;
    let packages = packages(&root)?;
    let mut faults = arrows::check(&root, &packages)?;
    faults.extend(circles::check(&root, &packages)?);
    faults.extend(rooms::check(&root, &packages)?);
    Ok(faults)
}

/// Every circle of files in every crate, allowed or not, and every import against the layers.
pub fn circles() -> Result<Vec<String>> {
    let root = root()?;
    let packages = packages(&root)?;
    circles::list(&root, &packages)
}

fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().context("the workspace's folder is gone")
}

/// The crates of the workspace, as `cargo metadata` lists them.
fn packages(root: &Path) -> Result<Vec<Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata does not start")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not valid JSON")?;
    metadata["packages"].as_array().cloned().context("cargo metadata has no packages")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_as_the_architecture_says() {
        assert_eq!(super::check().unwrap(), Vec::<String>::new());
    }
}
