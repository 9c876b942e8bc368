//! Compares the workspace with its architecture: dependencies of crates, circles of files, layers, sizes of folders, words.

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
    faults.extend(crate::words::check(&root)?);
    Ok(faults)
}

/// Every circle of files in every crate, allowed or not, and every import against the layers.
pub fn circles() -> Result<Vec<String>> {
    let root = root()?;
    let packages = packages(&root)?;
    circles::list(&root, &packages)
}

/// Every old word of the vocabulary that remains in the workspace, allowed or not.
pub fn words() -> Result<Vec<crate::words::Remaining>> {
    crate::words::remaining(&root()?)
}

fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().context("the folder of the workspace does not exist")
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
    fn the_workspace_agrees_with_its_architecture() {
        assert_eq!(super::check().unwrap(), Vec::<String>::new());
    }
}
