//! The objects of a repair: those before it, paired with those after it.

use std::collections::{HashMap, VecDeque};

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use corpus::{Inputs, Positions, Scan};
use domain::config::RunConfig;
use domain::record::Neighbours;
use engine::document::{Document, Identity};
use serde_json::Value;

use crate::commands::detect::{Tally, counted};
use crate::findings::unread::Unread;

/// An object of a file.
#[derive(Debug)]
pub(in crate::commands) struct Object {
    pub(super) path: String,
    /// Line of its document in the file, from 1.
    pub(super) line: usize,
    pub(super) document: Document,
    /// Related objects of the same input.
    pub(super) neighbours: Neighbours,
}

impl Object {
    pub(super) fn name(&self) -> String {
        name(&self.document.identity)
    }

    pub(super) fn place(&self) -> String {
        format!("{}:{}: {}", self.path, self.line, self.name())
    }
}

/// An object for people.
pub(super) fn name(identity: &Identity) -> String {
    let namespace =
        if identity.namespace.is_empty() { String::new() } else { format!("{}/", identity.namespace) };
    let name = if identity.name.is_empty() { "(unnamed)" } else { &identity.name };
    format!("{} {namespace}{name}", identity.kind)
}

/// Reads the objects of a file or folder.
pub(super) fn read(path: &str, config: &RunConfig) -> anyhow::Result<Vec<Object>> {
    of_inputs(path, &Inputs::open(&[path.to_owned()], &config.limits)?, config)
}

/// The objects of inputs, all of them: a verdict over a part would be none.
pub(in crate::commands) fn of_inputs(
    path: &str,
    inputs: &Inputs,
    config: &RunConfig,
) -> anyhow::Result<Vec<Object>> {
    let scan = Scan::survey(inputs, config, Vec::new(), config.context, Positions::Left)?;
    let (mut tally, mut objects) = (Tally::default(), Vec::new());
    scan.files::<_, anyhow::Error>(
        |file| file,
        |file| {
            tally.take(&file);
            let whole = file.objects.into_iter().filter(|object| object.fragment.is_none());
            objects.extend(whole.map(|object| Object {
                path: file.path.clone(),
                line: object.place.lines + 1,
                document: object.document,
                neighbours: object.neighbours,
            }));
            Ok(())
        },
    )?;
    tally.check()?;
    if let Some(Unread { path: file, line, message, .. }) = tally.unread.first() {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        let count = counted(tally.unread.len() as u64, "document");
        anyhow::bail!("{path}: {count} cannot be read; the first is {file}{line}: {message}");
    }
    Ok(objects)
}

/// The object that a patch is for.
pub(in crate::commands) fn choose(mut objects: Vec<Object>, wanted: Option<&str>) -> anyhow::Result<Object> {
    let names: Vec<String> = objects.iter().map(|object| short_name(&object.document.identity)).collect();
    let mut found = (0..names.len())
        .filter(|at| wanted.is_none_or(|wanted| names.get(*at).is_some_and(|name| name == wanted)));
    match (found.next(), found.next(), wanted) {
        (Some(at), None, _) => Ok(objects.swap_remove(at)),
        (None, _, Some(wanted)) => Err(anyhow::anyhow!("no object is {wanted}"))
            .hint(format!("the objects are {}", names.join(", "))),
        (None, _, None) => anyhow::bail!("the file has no object"),
        (Some(_), Some(_), Some(wanted)) => anyhow::bail!("several objects are {wanted}"),
        (Some(_), Some(_), None) => Err(anyhow::anyhow!("the file has {} objects", names.len()))
            .hint(format!("name one with --object: {}", names.join(", "))),
    }
}

fn short_name(identity: &Identity) -> String {
    format!("{}/{}", identity.kind, identity.name)
}

/// Two versions of the same objects.
#[derive(Debug, Default)]
pub(super) struct Paired {
    /// Every object that is in both, with its value after the repair.
    pub(super) pairs: Vec<(Object, Value)>,
    /// Those that the repair brings.
    pub(super) new: Vec<Object>,
    /// Those that it takes away.
    pub(super) gone: Vec<Object>,
}

/// Pairs objects by kind, namespace and name; of several that have the same, in their order. What is left on both sides is
/// paired where it is one object of a kind: the repair may have named it otherwise, and a gate says so.
pub(super) fn pair(before: Vec<Object>, after: Vec<Object>) -> Paired {
    let mut open: HashMap<(String, String, String), VecDeque<Object>> = HashMap::new();
    let key =
        |identity: &Identity| (identity.kind.clone(), identity.namespace.clone(), identity.name.clone());
    for object in after {
        open.entry(key(&object.document.identity)).or_default().push_back(object);
    }
    let mut paired = Paired::default();
    for object in before {
        let same = open.get_mut(&key(&object.document.identity)).and_then(VecDeque::pop_front);
        match same {
            Some(same) => paired.pairs.push((object, same.document.value)),
            None => paired.gone.push(object),
        }
    }
    paired.new = open.into_values().flatten().collect();
    paired.new.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    if let ([gone], [new]) = (&paired.gone[..], &paired.new[..])
        && gone.document.identity.kind == new.document.identity.kind
        && let (Some(gone), Some(new)) = (paired.gone.pop(), paired.new.pop())
    {
        paired.pairs.push((gone, new.document.value));
    }
    paired
}

/// Reads a JSON Patch from a file of at most `most` bytes.
pub(super) fn patch(path: &std::path::Path, most: u64) -> anyhow::Result<domain::patch::Patch> {
    use std::io::Read as _;
    let failed = || format!("cannot read the patch {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(failed)?;
    file.take(most.saturating_add(1)).read_to_string(&mut text).with_context(failed)?;
    anyhow::ensure!(text.len() as u64 <= most, "the patch {} has more than {most} bytes", path.display());
    domain::patch::Patch::from_json(&text)
        .with_context(|| format!("{} is not a JSON Patch", path.display()))
        .hint("it is a list of operations (RFC 6902); for rows with ids give --detections and --patches")
}
