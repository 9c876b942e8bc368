//! The manifests that a call names: a text, or a path below the root.

use std::path::{Component, Path, PathBuf};

use cli_support::failure::WithHint as _;
use corpus::Inputs;
use corpus::read::{Files, SourceFile};
use engine::yaml;
use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;

use super::call::{Call, Shared};

/// Manifests: either their text or a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `text` (YAML or JSON) or `path`")]
pub(super) struct Manifests {
    /// YAML or JSON text of one or more objects
    #[serde(default)]
    pub(super) text: Option<String>,
    /// A file below the root of this server, or a folder, which is searched to any depth
    #[serde(default)]
    pub(super) path: Option<String>,
}

/// Manifests that were read, within the bounds.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) files: Inputs,
    /// Whether the caller gave the text: it knows the secrets in it.
    pub(super) is_text: bool,
}

/// What a text is called, as standard input is.
const TEXT: &str = "-";

impl Manifests {
    /// Reads them. `Err`: neither or both are named, the path leads out, or there is more than a call may name.
    pub(super) fn read(self, call: &Call) -> anyhow::Result<Input> {
        let mut taken = Taken { call, bytes: 0, documents: 0 };
        match (self.text, self.path) {
            (Some(text), None) => {
                let text = SourceFile { path: TEXT.to_owned(), content: Ok(text), below: None, id: None };
                taken.add(&text)?;
                Ok(Input { files: Inputs::of_files([text]), is_text: true })
            }
            (None, Some(path)) => {
                let files = files(&path, &mut taken)?;
                Ok(Input { files: Inputs::of_files(files), is_text: false })
            }
            _ => Err(anyhow::anyhow!("manifests are named by `text` or by `path`")).hint("give one of them"),
        }
    }
}

fn files(path: &str, taken: &mut Taken<'_>) -> anyhow::Result<Vec<SourceFile>> {
    let Shared { root, config, .. } = &*taken.call.shared;
    let below = below(path, &taken.call.shared.path)?;
    let refused = |why: &dyn std::fmt::Display| anyhow::anyhow!("{path}: {why}");
    let found = Files::below(root, &below, &config.limits).map_err(|error| refused(&error))?;
    let is_single = root.file(&below).is_ok();
    let mut files = Vec::new();
    for file in found {
        if is_single && let Err(problem) = &file.content {
            return Err(refused(problem));
        }
        taken.add(&file)?;
        let path = if is_single { below.clone() } else { below.join(&file.path) };
        files.push(SourceFile { path: path.display().to_string(), below: None, id: None, ..file });
    }
    Ok(files)
}

/// A path as one below the root. Links are for who opens it.
fn below(path: &str, root: &Path) -> anyhow::Result<PathBuf> {
    let named = Path::new(path);
    let within = if named.is_absolute() { named.strip_prefix(root).ok() } else { Some(named) };
    let mut below = PathBuf::new();
    let is_below = within.is_some_and(|within| {
        within.components().all(|part| match part {
            Component::Normal(name) => {
                below.push(name);
                true
            }
            Component::CurDir => true,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
        })
    });
    if is_below {
        return Ok(below);
    }
    Err(anyhow::anyhow!("{path} leads out of the root {}", root.display()))
        .hint("name a path below it, without `..`; `worker mcp --root DIR` chooses the root")
}

/// What was read so far.
struct Taken<'a> {
    call: &'a Call,
    bytes: usize,
    documents: usize,
}

impl Taken<'_> {
    fn add(&mut self, file: &SourceFile) -> anyhow::Result<()> {
        self.call.stop.check()?;
        let bounds = &self.call.shared.bounds;
        let text = file.content.as_deref().unwrap_or_default();
        self.bytes += text.len();
        if self.bytes > bounds.max_bytes.get() {
            return Err(anyhow::anyhow!("the manifests have more than {} bytes", bounds.max_bytes))
                .hint("name fewer of them in a call, or start the server with a larger --max-bytes");
        }
        // A file without any counts too, because there may be many.
        self.documents += yaml::split(text).len().max(1);
        if self.documents > bounds.max_documents.get() {
            return Err(anyhow::anyhow!("the manifests have more than {} documents", bounds.max_documents))
                .hint("name fewer of them in a call, or start the server with a larger --max-documents");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_the_root_or_refused() {
        let root = Path::new("/work/app");
        for (path, expected) in [
            ("a/b.yaml", "a/b.yaml"),
            ("./a", "a"),
            (".", ""),
            ("", ""),
            ("/work/app/a", "a"),
            ("/work/app", ""),
        ] {
            assert_eq!(below(path, root).unwrap(), Path::new(expected), "{path}");
        }
        for path in ["..", "../app/a", "a/../../b", "/work/application", "/etc/passwd", "/work/app/../b"] {
            let error = below(path, root).unwrap_err();
            assert!(error.to_string().contains("leads out of the root /work/app"), "{error}");
        }
    }
}
