//! Overlays: which file an object of a build comes from.
//!
//! kustomize says it where it is asked to (`buildMetadata: [originAnnotations]`). What is judged is the build as it is; a second
//! one, through a kustomization of ours that asks for origins, is compared with it object by object.

use std::path::{Component, Path, PathBuf};

use domain::config::Limits;
use engine::document::Document;
use engine::yaml;
use scanners::Renderer;
use serde_json::Value;

use super::built::{Built, Origin, from_here, value_of};

/// The names that kustomize gives its file.
pub(super) const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The annotation with the origin.
const ORIGIN: &str = "config.kubernetes.io/origin";

/// An object of the second build: without its origin, and that.
struct Annotated {
    value: Value,
    origin: Option<PathBuf>,
}

/// The documents of a build with the files of their objects.
pub(super) fn traced(renderer: &Renderer, folder: &Path, pieces: Vec<String>, limits: &Limits) -> Vec<Built> {
    let annotated = annotated(renderer, folder, limits);
    let values: Vec<Value> = pieces.iter().map(|text| value_of(text, limits)).collect();
    let mut all = Vec::new();
    for (text, value) in pieces.into_iter().zip(&values) {
        let origin = match &annotated {
            Err(why) => Origin::Unsure(why.clone()),
            Ok(annotated) => origin(value, &values, annotated),
        };
        all.push(Built { text, origin });
    }
    all
}

fn origin(value: &Value, all: &[Value], annotated: &[Annotated]) -> Origin {
    let mut same = annotated.iter().filter(|other| other.value == *value);
    let (found, other) = (same.next(), same.next());
    let is_one = other.is_none() && all.iter().filter(|other| *other == value).count() == 1;
    match found {
        Some(Annotated { origin: Some(file), .. }) if is_one => {
            Origin::File { path: from_here(file), file: file.clone() }
        }
        Some(_) if is_one => Origin::Unsure("kustomize generates it".to_owned()),
        _ => Origin::Unsure("kustomize does not say which file it comes from".to_owned()),
    }
}

/// The objects of a build that asks for origins; `Err`: why there is none.
fn annotated(renderer: &Renderer, folder: &Path, limits: &Limits) -> Result<Vec<Annotated>, String> {
    let what = folder.display().to_string();
    let mut root = PathBuf::new();
    let text = renderer.render_in(&what, |scratch| {
        scratch.clone_into(&mut root);
        let kustomization = serde_json::json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative(scratch, folder)],
            "buildMetadata": ["originAnnotations"],
        });
        std::fs::write(scratch.join("kustomization.yaml"), kustomization.to_string())?;
        Ok(vec![scratch.into()])
    });
    let text = text.map_err(|error| format!("kustomize cannot say which file it comes from: {error}"))?;
    let pieces = yaml::split(&text).into_iter();
    Ok(pieces.map(|piece| without_origin(piece.text, &root, limits)).collect())
}

fn without_origin(text: &str, root: &Path, limits: &Limits) -> Annotated {
    let mut value = value_of(text, limits);
    let annotations = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let said = annotations.and_then(|annotations| annotations.remove(ORIGIN));
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    if value.pointer("/metadata/annotations").is_some_and(is_empty)
        && let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("annotations");
    }
    let said = said.as_ref().and_then(Value::as_str).and_then(|said| Document::parse(said, limits).ok());
    // What a repository elsewhere has is not here; what is configured is generated.
    let local = said.filter(|said| ["repo", "configuredIn"].iter().all(|key| said.value.get(key).is_none()));
    let path = local.as_ref().and_then(|said| said.value.get("path")?.as_str());
    let file = path.map(|path| joined(root, path)).filter(|path| !is_link(path));
    let origin = file.and_then(|file| file.canonicalize().ok()).filter(|file| file.is_file());
    Annotated { value, origin }
}

/// A path from a folder without links, which need not be there any more.
fn joined(root: &Path, path: &str) -> PathBuf {
    let mut joined = root.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                joined.pop();
            }
            part => joined.push(part),
        }
    }
    joined
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// The way from one folder to another one, both absolute and without links.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| "..");
    up.map(PathBuf::from)
        .chain(to.components().skip(shared).map(|part| PathBuf::from(part.as_os_str())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_folder_is_relative() {
        for (from, to, way) in
            [("/tmp/x", "/work/a/b", "../../work/a/b"), ("/a/b", "/a/c", "../c"), ("/a/b", "/a", "..")]
        {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way));
        }
    }

    #[test]
    fn an_origin_is_a_file_that_is_here() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap();
        std::fs::write(folder.join("a.yaml"), "kind: Pod\n").unwrap();
        let of = |origin: &str| {
            let text =
                format!("kind: Pod\nmetadata:\n  name: a\n  annotations:\n    {ORIGIN}: |\n      {origin}\n");
            without_origin(&text, &folder, &Limits::default())
        };
        let found = of("path: a.yaml");
        assert_eq!(found.value, serde_json::json!({"kind": "Pod", "metadata": {"name": "a"}}));
        assert_eq!(found.origin, Some(folder.join("a.yaml")));
        for other in
            ["path: b.yaml", "path: a.yaml\n      repo: https://example.com/x", "configuredIn: a.yaml", "5"]
        {
            assert_eq!(of(other).origin, None, "{other}");
        }
    }
}
