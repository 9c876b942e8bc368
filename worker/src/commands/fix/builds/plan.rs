//! Which repairs of rendered objects are repairs of their files, and which are left, with the reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use corpus::{FileScan, Scanned, objects_at};
use domain::config::Limits;
use domain::pointer::Pointer;
use engine::yaml;
use serde_json::Value;

use crate::commands::builds::{Build, Buildable, Origin, Source};
use crate::commands::fix::repaired::{Repair, Repaired};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// One a file.
    pub(super) edits: Vec<Edit>,
    pub(super) left: Vec<Left>,
}

/// A file and its new text.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) file: FileScan,
    pub(super) text: String,
    /// The documents that are to be rendered otherwise then: their numbers and values.
    pub(super) expected: Vec<(usize, Value)>,
    /// The repairs for people.
    pub(super) lines: Vec<String>,
}

/// A rendered document whose repairs are not written.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) path: String,
    pub(super) old: String,
    pub(super) new: String,
    /// The repairs for people.
    pub(super) lines: Vec<String>,
    pub(super) why: String,
}

/// An object of a file in which repairs are made.
type Place = (PathBuf, usize);

/// Plans the repairs of a build.
pub(super) fn plan(
    buildable: &Buildable,
    build: &Build,
    files: &[(FileScan, Repaired)],
    (rewrite, write): (bool, bool),
    limits: &Limits,
) -> Planned {
    let uses = uses(buildable, build, limits);
    let mut planner = Planner { buildable, build, uses, rewrite, write, limits, edits: BTreeMap::new() };
    let mut left = Vec::new();
    for (file, repaired) in files {
        let Some(numbers) = build.files.get(&file.path) else { continue };
        for (at, object) in file.objects.iter().enumerate() {
            let repairs: Vec<&Repair> =
                repaired.repairs.iter().filter(|repair| repair.object == at).collect();
            if repairs.is_empty() {
                continue;
            }
            let number = numbers.get(object.place.piece).copied();
            let Err(why) = planner.take(number, object, &repairs) else { continue };
            let lines = repairs.iter().map(|repair| repair.about()).collect();
            let (old, new) = texts(file, repaired, object.place.piece);
            left.push(Left { path: file.path.clone(), old, new, lines, why });
        }
    }
    Planned { edits: planner.edits.into_values().collect(), left }
}

/// A rendered document without and with its repairs.
fn texts(file: &FileScan, repaired: &Repaired, piece: usize) -> (String, String) {
    let nth =
        |text: &str| yaml::split(text).get(piece).map(|piece| piece.text.to_owned()).unwrap_or_default();
    let new = repaired.text.as_deref().unwrap_or(&file.text);
    (nth(&file.text), nth(new))
}

/// How many documents of a build come from each object of a file.
fn uses(buildable: &Buildable, build: &Build, limits: &Limits) -> BTreeMap<Place, usize> {
    let mut uses: BTreeMap<Place, usize> = BTreeMap::new();
    for built in &build.documents {
        let Origin::File { file, .. } = &built.origin else { continue };
        for (_, object) in objects_at(&built.text, limits) {
            if let Ok(source) = Source::find(buildable, &built.origin, &object, limits) {
                *uses.entry((file.clone(), source.number)).or_default() += 1;
            }
        }
    }
    uses
}

struct Planner<'a> {
    buildable: &'a Buildable,
    build: &'a Build,
    uses: BTreeMap<Place, usize>,
    rewrite: bool,
    /// Whether the edits are made.
    write: bool,
    limits: &'a Limits,
    edits: BTreeMap<PathBuf, Edit>,
}

impl Planner<'_> {
    /// Adds the repairs of an object to the edit of its file; `Err`: why they are not repairs of a file.
    fn take(&mut self, number: Option<usize>, object: &Scanned, repairs: &[&Repair]) -> Result<(), String> {
        let built = number.and_then(|number| Some((number, self.build.documents.get(number)?)));
        let (number, built) = built.ok_or("it is not found among what was rendered")?;
        let source = Source::find(self.buildable, &built.origin, &object.document, self.limits)?;
        let Origin::File { file, path } = &built.origin else {
            return Err("its file is not sure".to_owned());
        };
        if object.place.pointer != Pointer::ROOT {
            return Err(format!("it is an item of a list; change {path} by hand"));
        }
        if self.uses.get(&(file.clone(), source.number)).copied() != Some(1) {
            return Err(format!("several objects of the build come from it; change {path} by hand"));
        }
        if repairs.iter().any(|repair| !repair.companions.is_empty()) {
            return Err(
                "it needs another object beside it, which only you can add to what is rendered".to_owned()
            );
        }
        let text = self.edits.get(file).map_or(source.file.text.clone(), |edit| edit.text.clone());
        let patches = repairs.iter().map(|repair| &repair.patch);
        let (text, value) =
            source.patched(&text, &object.document.value, patches, self.rewrite, self.limits)?;
        let lines = repairs.iter().map(|repair| repair.line(self.write));
        let edit = self.edits.entry(file.clone()).or_insert_with(|| Edit {
            file: source.file,
            text: String::new(),
            expected: Vec::new(),
            lines: Vec::new(),
        });
        edit.text = text;
        edit.expected.push((number, value));
        edit.lines.extend(lines);
        Ok(())
    }
}
