//! What the kustomizations of an input say about its files (kustomize documentation, *The Kustomization File*): which of them
//! are patches, and which images are replaced when the manifests are built.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::config::Limits;
use domain::image::ImageParts;
use domain::record::{Neighbour, Neighbours};
use engine::document::Document;
use engine::k8s::View;
use serde_json::Value;

use crate::read::SourceFile;

/// The names that kustomize gives its file.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The most kustomizations that are followed upwards from one file. Trees of real projects are a few levels deep.
const MOST_ABOVE: usize = 1_000;

/// One kustomization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kustomization {
    path: String,
    /// The patch files that it lists.
    patches: Vec<String>,
    /// The files and folders that it builds on: resources, bases, components.
    resources: Vec<String>,
    /// The images that it replaces, by their names in the manifests.
    images: Vec<String>,
}

/// The kustomizations of an input.
#[derive(Debug, Default)]
pub(crate) struct Kustomizations {
    all: Vec<Kustomization>,
    /// Each patch file with the first kustomization that lists it.
    patches: BTreeMap<String, usize>,
    /// Each file or folder with the kustomizations that build on it.
    users: BTreeMap<String, Vec<usize>>,
    /// Folders in which a kustomization was looked for that is not read as a manifest.
    looked_in: BTreeSet<String>,
    /// Whether any of them replaces an image.
    has_images: bool,
}

impl Kustomizations {
    /// The kustomization of which the file at `path` is a patch.
    pub(crate) fn kustomization_of(&self, path: &str) -> Option<&str> {
        let at = self.patches.get(path)?;
        self.all.get(*at).map(|kustomization| kustomization.path.as_str())
    }

    /// Adds what [`read`] found in the text of `file`, and a kustomization beside it that is no manifest of the input: a
    /// single file was named, or its name has no extension.
    pub(crate) fn add(&mut self, file: &SourceFile, found: Option<Kustomization>, limits: &Limits) {
        let (folder, _) = split(&file.path);
        let look = file.below.as_ref().filter(|_| self.looked_in.insert(folder.to_owned()));
        let beside = NAMES.iter().filter_map(|name| {
            let bytes = look?.beside(name).read(limits.document_bytes as u64).ok()?;
            let path = if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") };
            parse(std::str::from_utf8(&bytes).ok()?, folder, path, limits)
        });
        let beside: Vec<_> = beside.collect();
        found.into_iter().chain(beside).for_each(|kustomization| self.insert(kustomization));
    }

    /// The first kustomization in the order of the input counts for a patch.
    fn insert(&mut self, kustomization: Kustomization) {
        if self.all.iter().rev().take(NAMES.len()).any(|known| known.path == kustomization.path) {
            return;
        }
        let at = self.all.len();
        for patch in &kustomization.patches {
            self.patches.entry(patch.clone()).or_insert(at);
        }
        for resource in &kustomization.resources {
            self.users.entry(resource.clone()).or_default().push(at);
        }
        self.has_images |= !kustomization.images.is_empty();
        self.all.push(kustomization);
    }

    /// The images of an object of the file at `path` that a kustomization above it replaces, each with the first one that
    /// does, from the file upwards.
    pub(crate) fn image_overrides(&self, document: &Document, path: &str) -> Vec<Neighbour> {
        if !self.has_images || !self.users.contains_key(path) {
            return Vec::new();
        }
        let view = View::new(document, &Neighbours::Unknown);
        let images = view.containers.iter().filter_map(|container| container.fields.get("image")?.as_str());
        let mut open: BTreeSet<&str> = images.map(str::trim).filter(|image| !image.is_empty()).collect();
        let mut found = Vec::new();
        for kustomization in self.above(path) {
            open.retain(|image| {
                let name = ImageParts::of(image).name;
                let entry = kustomization.images.iter().find(|entry| *entry == image || *entry == name);
                found.extend(entry.map(|entry| Neighbour::ImageOverride {
                    kustomization: kustomization.path.clone(),
                    image: entry.clone(),
                }));
                entry.is_none()
            });
            if open.is_empty() {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The kustomizations that build on a file, directly or through others, the nearest first.
    fn above(&self, path: &str) -> impl Iterator<Item = &Kustomization> {
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        let mut next: VecDeque<usize> = VecDeque::new();
        let mut enter = move |next: &mut VecDeque<usize>, users: Option<&Vec<usize>>| {
            let users = users.into_iter().flatten().copied();
            next.extend(users.take(MOST_ABOVE).filter(|at| seen.len() < MOST_ABOVE && seen.insert(*at)));
        };
        enter(&mut next, self.users.get(path));
        std::iter::from_fn(move || {
            let kustomization = self.all.get(next.pop_front()?)?;
            enter(&mut next, self.users.get(split(&kustomization.path).0));
            Some(kustomization)
        })
    }
}

/// The folder and the name of a file.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Whether the name of the file at `path` is that of a kustomization, which need not say its kind.
pub fn is_kustomization(path: &str) -> bool {
    NAMES.contains(&split(path).1)
}

/// What `file` says if it is a kustomization.
pub(crate) fn read(file: &SourceFile, limits: &Limits) -> Option<Kustomization> {
    let (folder, name) = split(&file.path);
    let text = file.content.as_ref().ok().filter(|_| NAMES.contains(&name))?;
    parse(text, folder, file.path.clone(), limits)
}

fn parse(text: &str, folder: &str, path: String, limits: &Limits) -> Option<Kustomization> {
    let document = Document::parse(text, limits).ok()?;
    let list = |key: &str| document.value.get(key).and_then(Value::as_array).into_iter().flatten();
    let with_path = ["patches", "patchesJson6902"].into_iter().flat_map(list);
    let with_path = with_path.filter_map(|patch| patch.get("path")?.as_str());
    let plain = list("patchesStrategicMerge").filter_map(Value::as_str).filter(|text| !text.contains('\n'));
    let patches = with_path.chain(plain).map(|patch| joined(folder, patch)).collect();
    let resources = ["resources", "bases", "components"].into_iter().flat_map(list);
    let resources = resources.filter_map(Value::as_str).map(|path| joined(folder, path)).collect();
    let images = list("images").filter(|entry| {
        // An entry without any of these replaces nothing.
        ["newName", "newTag", "digest"].iter().any(|key| entry.get(key).is_some_and(|value| !value.is_null()))
    });
    let images = images.filter_map(|entry| entry.get("name")?.as_str()).map(|name| name.trim().to_owned());
    let images = images.filter(|name| !name.is_empty()).collect();
    Some(Kustomization { path, patches, resources, images })
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

    fn source(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), content: Ok(text.to_owned()), below: None, id: None }
    }

    fn listed(path: &str, text: &str) -> Vec<String> {
        read(&source(path, text), &Limits::default()).unwrap_or_default().patches
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

    fn tree(files: &[(&str, &str)]) -> Kustomizations {
        let limits = Limits::default();
        let mut tree = Kustomizations::default();
        for (path, text) in files {
            let file = source(path, text);
            tree.add(&file, read(&file, &limits), &limits);
        }
        tree
    }

    /// The kustomization that replaces the image, and the entry.
    fn replaced(tree: &Kustomizations, path: &str, image: &str) -> Vec<(String, String)> {
        let text = format!("kind: Pod\nspec: {{containers: [{{name: a, image: {image}}}]}}");
        let document = Document::parse(&text, &Limits::default()).unwrap();
        let found = tree.image_overrides(&document, path).into_iter();
        found
            .filter_map(|neighbour| match neighbour {
                Neighbour::ImageOverride { kustomization, image } => Some((kustomization, image)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn images_are_replaced_wherever_the_manifest_is_built() {
        for (list, change) in [
            ("resources", "newTag: v1"),
            ("bases", "newName: r.example.com/c"),
            ("components", "digest: 'sha256:00'"),
        ] {
            let overlay = format!("{list}: [../../base]\nimages: [{{name: c, {change}}}]\n");
            let tree = tree(&[
                ("base/kustomization.yaml", "resources: [./a.yaml]\n"),
                ("overlays/prod/kustomization.yaml", &overlay),
                (
                    "site/kustomization.yml",
                    "resources: [../overlays/prod]\nimages: [{name: d, newTag: '2'}]\n",
                ),
            ]);
            let in_overlay = [("overlays/prod/kustomization.yaml".to_owned(), "c".to_owned())];
            assert_eq!(replaced(&tree, "base/a.yaml", "c:latest"), in_overlay, "{list}");
            let on_top = [("site/kustomization.yml".to_owned(), "d".to_owned())];
            assert_eq!(replaced(&tree, "base/a.yaml", "'d@sha256:00'"), on_top);
            for (path, image) in [("base/a.yaml", "e"), ("base/b.yaml", "c"), ("a.yaml", "c")] {
                assert_eq!(replaced(&tree, path, image), [], "{path} {image}");
            }
        }
    }

    #[test]
    fn kustomizations_that_build_on_each_other_come_to_an_end() {
        let tree = tree(&[
            ("a/kustomization.yaml", "resources: [x.yaml, ../b]\n"),
            (
                "b/kustomization.yaml",
                "resources: [../a, ../b]\nimages: [{name: c, newTag: '1'}, {name: d}, 5]\n",
            ),
        ]);
        assert_eq!(replaced(&tree, "a/x.yaml", "c").len(), 1);
        assert_eq!(replaced(&tree, "a/x.yaml", "d"), [], "nothing is said of its tag");
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
