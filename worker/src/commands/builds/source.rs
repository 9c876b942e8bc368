//! The object of a source file that a rendered object comes from, and whether a repair of one is a repair of the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use corpus::read::Files;
use corpus::{FileScan, objects_at};
use domain::config::Limits;
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use engine::document::Document;
use engine::rewrite::{Rewritten, Style};
use engine::verify::apply;
use results::root::Root;
use scanners::RendererKind;
use serde_json::Value;

use super::buildable::Buildable;
use super::built::Origin;
use crate::repair::patched_file;

/// The object of a source file.
#[derive(Debug)]
pub(in crate::commands) struct Source {
    /// The file with its text, to be written.
    pub(in crate::commands) file: FileScan,
    /// The number of the object among those of the file.
    pub(in crate::commands) number: usize,
    value: Value,
}

impl Source {
    /// Finds the source of a rendered object; `Err`: why there is none that can be written.
    pub(in crate::commands) fn find(
        of: &Buildable,
        origin: &Origin,
        object: &Document,
        limits: &Limits,
    ) -> Result<Self, String> {
        let file = match origin {
            Origin::Unsure(why) => return Err(why.clone()),
            Origin::File { path, file } => opened(of, path, file, limits)?,
        };
        let path = &file.path;
        if of.kind() == RendererKind::Helm && file.text.contains("{{") {
            return Err(format!("it comes from a template; change {path} or its values by hand"));
        }
        let objects = objects_at(&file.text, limits);
        let is_of_kind = |other: &Document| {
            other.identity.kind == object.identity.kind
                && other.identity.api_version == object.identity.api_version
        };
        let is_same = |other: &Document| {
            let (own, other) = (&object.identity, &other.identity);
            own.name == other.name && (other.namespace.is_empty() || own.namespace == other.namespace)
        };
        let only = |fits: &dyn Fn(&Document) -> bool| {
            let mut fitting = objects.iter().enumerate().filter(|(_, (_, other))| fits(other));
            fitting.next().filter(|_| fitting.next().is_none())
        };
        // An overlay may rename objects: then the only one of its kind is it.
        let found = only(&|other| is_of_kind(other) && is_same(other))
            .or_else(|| only(&is_of_kind).filter(|_| of.kind() == RendererKind::Kustomize));
        let Some((number, (_, document))) = found else {
            return Err(format!("{path} has no object that is surely its source"));
        };
        let value = document.value.clone();
        Ok(Self { file, number, value })
    }

    /// The new text of the file with these patches of the rendered object `rendered`, and the value that the rendered object is
    /// expected to have then; `Err`: why they are not patches of the source.
    pub(in crate::commands) fn patched<'p>(
        &self,
        text: &str,
        rendered: &Value,
        patches: impl IntoIterator<Item = &'p Patch>,
        rewrite: bool,
        limits: &Limits,
    ) -> Result<(String, Value), String> {
        let path = &self.file.path;
        let (mut text, mut source, mut rendered) = (text.to_owned(), self.value.clone(), rendered.clone());
        for patch in patches {
            if let Some(differs) = patch.0.iter().find_map(|op| differing(op, &source, &rendered)) {
                let at = if differs.as_str().is_empty() { "/" } else { differs.as_str() };
                return Err(format!("{at} is not in {path} what it is when rendered; change it by hand"));
            }
            source = apply(&source, patch).map_err(|error| error.to_string())?;
            rendered = apply(&rendered, patch).map_err(|error| error.to_string())?;
            let objects = objects_at(&text, limits);
            let Some((place, _)) = objects.get(self.number) else {
                return Err(format!("the object is no longer found in {path}"));
            };
            let Rewritten { text: next, style } =
                patched_file(&text, place, patch, limits).map_err(|error| error.to_string())?;
            if style == Style::Reserialised && !rewrite {
                return Err(format!("the repair is not an edit of the text of {path}: see --rewrite"));
            }
            text = next;
        }
        let objects = objects_at(&text, limits);
        if objects.get(self.number).is_none_or(|(_, document)| document.value != source) {
            return Err(format!("the repaired {path} does not read as expected"));
        }
        Ok((text, rendered))
    }
}

/// A source file with its text, if it lies below the chart or overlay, or below the working folder.
fn opened(of: &Buildable, path: &str, file: &Path, limits: &Limits) -> Result<FileScan, String> {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let mut roots = [Some(of.folder().to_owned()), here].into_iter().flatten();
    let Some(root) = roots.find(|root| file.starts_with(root)) else {
        return Err(format!("{path} lies outside of {} and of the working folder", of.name()));
    };
    let below = file.strip_prefix(&root).unwrap_or(file).to_owned();
    let failed = |why: String| format!("{path}: {why}");
    let root = Arc::new(Root::open(&root).map_err(|error| failed(error.to_string()))?);
    let mut files = Files::below(&root, &below, limits).map_err(|refused| failed(refused.to_string()))?;
    let found = files.next().ok_or_else(|| failed("is not there".to_owned()))?;
    let text = found.content.map_err(|problem| failed(problem.to_string()))?;
    Ok(FileScan {
        path: path.to_owned(),
        text,
        objects: Vec::new(),
        troubles: Vec::new(),
        skipped: Vec::new(),
        below: found.below,
        spans: BTreeMap::new(),
    })
}

/// The place of an operation that is not the same in both objects; `None`: it does the same to both.
fn differing(op: &Op, source: &Value, rendered: &Value) -> Option<Pointer> {
    let from = match op {
        Op::Move { from, .. } | Op::Copy { from, .. } => Some(from),
        Op::Add { .. } | Op::Remove { .. } | Op::Replace { .. } | Op::Test { .. } => None,
    };
    from.into_iter().chain([op.path()]).find_map(|pointer| difference(pointer, source, rendered))
}

/// Where two objects differ on the way to a node, or in it.
fn difference(pointer: &Pointer, source: &Value, rendered: &Value) -> Option<Pointer> {
    let (mut one, mut other) = (source, rendered);
    let mut at = Pointer::ROOT;
    for key in pointer.keys() {
        let below = at.child(&key);
        let (next, also) = match (one, other) {
            (Value::Object(one), Value::Object(other)) => (one.get(&key), other.get(&key)),
            (Value::Array(one), Value::Array(other)) => {
                // At the end of a list, or among its entries: the same ones must stand there.
                let names =
                    |list: &[Value]| list.iter().map(|entry| entry.get("name").cloned()).collect::<Vec<_>>();
                if one.len() != other.len() || names(one) != names(other) {
                    return Some(at);
                }
                let index = key.parse::<usize>().ok();
                let nth = |list: &'_ [Value]| index.is_some_and(|index| index < list.len());
                match index {
                    Some(index) if nth(one) => (one.get(index), other.get(index)),
                    _ => (None, None),
                }
            }
            _ => return Some(at),
        };
        match (next, also) {
            (Some(next), Some(also)) => (one, other) = (next, also),
            (None, None) => return None,
            _ => return Some(below),
        }
        at = below;
    }
    (one != other).then_some(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_the_same_only_with_what_leads_to_it() {
        let source = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"image": "y"}], "n": 1}});
        let differs = |rendered: Value, pointer: &str| {
            difference(&Pointer::parse(pointer).unwrap(), &source, &rendered).map(|at| at.as_str().to_owned())
        };
        let mut rendered = source.clone();
        rendered["spec"]["n"] = json!(2);
        rendered["spec"]["containers"][0]["image"] = json!("x:2");
        for same in [
            "/spec/containers/0/securityContext",
            "/spec/containers/1/image",
            "/spec/none/x",
            "/spec/containers/-",
        ] {
            assert_eq!(differs(rendered.clone(), same), None, "{same}");
        }
        assert_eq!(differs(rendered.clone(), "/spec/n").as_deref(), Some("/spec/n"));
        assert_eq!(
            differs(rendered.clone(), "/spec/containers/0/image").as_deref(),
            Some("/spec/containers/0/image")
        );
        assert_eq!(differs(rendered.clone(), "/spec").as_deref(), Some("/spec"));
        rendered["spec"]["containers"].as_array_mut().unwrap().insert(0, json!({"name": "sidecar"}));
        for moved in ["/spec/containers/0/securityContext", "/spec/containers/1/image", "/spec/containers/-"]
        {
            assert_eq!(differs(rendered.clone(), moved).as_deref(), Some("/spec/containers"), "{moved}");
        }
        rendered["spec"]["hostNetwork"] = json!(true);
        assert_eq!(differs(rendered, "/spec/hostNetwork").as_deref(), Some("/spec/hostNetwork"));
    }
}
