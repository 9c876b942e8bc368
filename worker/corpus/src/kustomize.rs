//! Which files of an input are patches of a kustomization (kustomize documentation, *The Kustomization File*).

use std::collections::{BTreeMap, BTreeSet};

use domain::config::Limits;
use engine::document::Document;
use serde_json::Value;

use crate::read::SourceFile;

/// The names that kustomize gives its file.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The patch files of an input.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    /// Each patch file with the kustomization that lists it.
    listed: BTreeMap<String, String>,
    /// Folders in which a kustomization was looked for that is not read as a manifest.
    looked_in: BTreeSet<String>,
}

impl Patches {
    /// The kustomization of which the file at `path` is a patch.
    pub(crate) fn kustomization_of(&self, path: &str) -> Option<&str> {
        self.listed.get(path).map(String::as_str)
    }

    /// Adds what [`listed_by`] found in the text of `file`, and what a kustomization beside it lists that is no manifest of
    /// the input: a single file was named, or its name has no extension.
    pub(crate) fn add(&mut self, file: &SourceFile, found: Vec<(String, String)>, limits: &Limits) {
        let (folder, _) = split(&file.path);
        let look = file.below.as_ref().filter(|_| self.looked_in.insert(folder.to_owned()));
        let beside = NAMES.iter().filter_map(|name| {
            let bytes = look?.beside(name).read(limits.document_bytes as u64).ok()?;
            let path = if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") };
            Some(patches(std::str::from_utf8(&bytes).ok()?, folder, &path, limits))
        });
        let beside: Vec<_> = beside.flatten().collect();
        // The first kustomization in the order of the input counts.
        for (patch, kustomization) in found.into_iter().chain(beside) {
            self.listed.entry(patch).or_insert(kustomization);
        }
    }
}

/// The folder and the name of a file.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The patch files that `file` lists if it is a kustomization, each with the path of the kustomization.
pub(crate) fn listed_by(file: &SourceFile, limits: &Limits) -> Vec<(String, String)> {
    let (folder, name) = split(&file.path);
    let text = file.content.as_ref().ok().filter(|_| NAMES.contains(&name));
    text.map(|text| patches(text, folder, &file.path, limits)).unwrap_or_default()
}

fn patches(text: &str, folder: &str, path: &str, limits: &Limits) -> Vec<(String, String)> {
    let Ok(document) = Document::parse(text, limits) else { return Vec::new() };
    let list = |key: &str| document.value.get(key).and_then(Value::as_array).into_iter().flatten();
    let with_path = ["patches", "patchesJson6902"].into_iter().flat_map(list);
    let with_path = with_path.filter_map(|patch| patch.get("path")?.as_str());
    let plain = list("patchesStrategicMerge").filter_map(Value::as_str).filter(|text| !text.contains('\n'));
    with_path.chain(plain).map(|patch| (joined(folder, patch), path.to_owned())).collect()
}

/// `path` as seen from where `folder` is, without `.` and, as far as they can be resolved, without `..`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, ".." | "")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if folder.is_empty() && parts.first() == Some(&"") {
        parts.remove(0);
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile { path: path.to_owned(), content: Ok(text.to_owned()), below: None, id: None };
        listed_by(&file, &Limits::default()).into_iter().map(|(patch, _)| patch).collect()
    }

    #[test]
    fn every_way_to_list_a_patch_is_read() {
        let text = "resources: [deploy.yaml]\npatches:\n- path: patch.yaml\n- patch: |-\n    - op: test\n- path: ./deep/patch.yaml\n  target: {kind: Pod}\npatchesStrategicMerge:\n- merge.yaml\n- |-\n  kind: Pod\n  metadata: {name: a}\npatchesJson6902:\n- path: ../shared/ops.json\n  target: {}\n";
        assert_eq!(
            listed("overlays/prod/kustomization.yaml", text),
            [
                "overlays/prod/patch.yaml",
                "overlays/prod/deep/patch.yaml",
                "overlays/shared/ops.json",
                "overlays/prod/merge.yaml"
            ]
        );
        assert_eq!(listed("kustomization.yml", text)[0], "patch.yaml");
        assert_eq!(listed("other.yaml", text), Vec::<String>::new());
        for odd in ["patches: 5", "patches: [5, {path: [a]}]", "- 1", "a: [", "patchesStrategicMerge: {a: b}"]
        {
            assert_eq!(listed("kustomization.yaml", odd), Vec::<String>::new(), "{odd}");
        }
    }

    #[test]
    fn paths_are_joined() {
        for (folder, path, expected) in [
            ("", "a.yaml", "a.yaml"),
            ("x", "../a.yaml", "a.yaml"),
            ("../x", "../a.yaml", "../a.yaml"),
            ("..", "../a.yaml", "../../a.yaml"),
            ("/abs/x", "../a.yaml", "/abs/a.yaml"),
            ("./x", "y//./a.yaml", "x/y/a.yaml"),
        ] {
            assert_eq!(joined(folder, path), expected, "{folder} {path}");
        }
    }
}
