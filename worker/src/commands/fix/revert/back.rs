//! Undoes recorded repairs.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use corpus::{Place, objects_at};
use domain::config::Limits;
use domain::patch::Op;
use domain::pointer::Pointer;
use engine::document::Document;
use engine::rewrite::Style;
use engine::verify::apply;
use results::input::encoding::TextEncoding;
use results::root::{Below, Root};
use serde_json::Value;

use super::record::hash;
use super::{CompanionsEntry, Entry, ObjectEntry, TextEdit, read};
use crate::commands::detect::counted;
use crate::repair::{patched_file, print_diff};

/// What is done with the entries.
pub(in crate::commands::fix) struct Manner<'a> {
    /// Writes the files; else shows the diff.
    pub(in crate::commands::fix) write: bool,
    /// Whether a document may be written anew.
    pub(in crate::commands::fix) rewrite: bool,
    pub(in crate::commands::fix) limits: &'a Limits,
}

/// Undoes the repairs that `file` recorded, in files below `folder`.
pub(in crate::commands::fix) fn run(file: &Path, folder: &str, manner: &Manner<'_>) -> anyhow::Result<Exit> {
    let root = Root::open(Path::new(folder)).with_context(|| format!("cannot open {folder}"))?;
    let base = cleaned(&std::path::absolute(folder)?);
    let mut back = Back { root: Arc::new(root), base, manner, undone: 0, unchanged: 0, left: 0 };
    read(file, |entry| back.entry(&entry))?;
    let Back { undone, unchanged, left, .. } = back;
    let verb = if manner.write { "restored" } else { "to be restored (--write)" };
    let same = if unchanged > 0 { format!(", {unchanged} as before") } else { String::new() };
    output::say(&format!("{} {verb}{same}, {left} left", counted(undone, "file")));
    Ok(Exit::found(left > 0 || (undone > 0 && !manner.write)))
}

struct Back<'a> {
    root: Arc<Root>,
    /// The folder as an absolute path.
    base: PathBuf,
    manner: &'a Manner<'a>,
    undone: u64,
    unchanged: u64,
    left: u64,
}

impl Back<'_> {
    /// Undoes the repairs of one file. What cannot be undone is said and left.
    fn entry(&mut self, entry: &Entry) {
        let undone = self.file(entry).and_then(|changed| {
            let companions = entry.companions.as_ref().map(|companions| self.companions(companions));
            Ok(companions.transpose()?.unwrap_or(false) || changed)
        });
        match undone {
            Ok(true) => self.undone += 1,
            Ok(false) => self.unchanged += 1,
            Err(error) => {
                self.left += 1;
                output::say(&format!("{}: not restored: {error:#}", entry.path));
            }
        }
    }

    /// Whether the file differs from what it was.
    fn file(&self, entry: &Entry) -> anyhow::Result<bool> {
        let place = self.below(&entry.path)?;
        let bytes = place.read_to_rewrite(self.manner.limits.file_bytes)?.context("there is no such file")?;
        let encoding = TextEncoding::of(&bytes);
        let text = encoding.decode(bytes)?;
        let now = hash(&text);
        if now == entry.before {
            return Ok(false);
        }
        let restored = if now == entry.after {
            let restored = edited(&text, &entry.edits).filter(|text| hash(text) == entry.before);
            restored.context("the recorded edits do not lead to the recorded text")?
        } else {
            self.patched(&text, entry)?
        };
        if self.manner.write {
            place.rewrite(&encoding.encode(&restored))?;
        } else {
            print_diff(&entry.path, &text, &restored)?;
        }
        Ok(true)
    }

    /// The text of a file that was changed since, with the inverse patch of each object.
    fn patched(&self, text: &str, entry: &Entry) -> anyhow::Result<String> {
        anyhow::ensure!(
            !entry.objects.is_empty(),
            "the file was changed since, and no patch undoes its repairs"
        );
        let mut text = text.to_owned();
        for object in entry.objects.iter().rev() {
            let name = format!("{} {}", object.kind, object.name);
            let (place, document) = find(&text, object, self.manner.limits)
                .with_context(|| format!("the file was changed since, and {name} is no longer in it"))?;
            if let Some(at) = occupied(&document.value, object) {
                anyhow::bail!("{name} was changed since: {at} would be overwritten");
            }
            let changed = || format!("{name} was changed since");
            let patched =
                patched_file(&text, &place, &object.revert, self.manner.limits).with_context(changed)?;
            anyhow::ensure!(
                patched.style == Style::Kept || self.manner.rewrite,
                "{name} was changed since, and the patch is not an edit of its text: --rewrite writes it anew"
            );
            text = patched.text;
        }
        Ok(text)
    }

    /// Whether the companions were there still.
    fn companions(&self, entry: &CompanionsEntry) -> anyhow::Result<bool> {
        let place = self.below(&entry.path)?;
        let now = place.read_to_replace(self.manner.limits.file_bytes)?;
        let now = now.map(|bytes| TextEncoding::of(&bytes).decode(bytes)).transpose()?;
        if now == entry.before {
            return Ok(false);
        }
        let Some(now) = now.filter(|now| hash(now) == entry.after) else {
            anyhow::bail!("{} was changed since: take the companions out by hand", entry.path);
        };
        let before = entry.before.as_deref();
        match before {
            _ if !self.manner.write => print_diff(&entry.path, &now, before.unwrap_or_default())?,
            Some(before) => place.replace(before.as_bytes(), 0o600)?,
            None => place.remove()?,
        }
        Ok(true)
    }

    /// A file below the folder, by its recorded path.
    fn below(&self, path: &str) -> anyhow::Result<Below> {
        let absolute = cleaned(&std::path::absolute(path)?);
        let Ok(below) = absolute.strip_prefix(&self.base) else {
            return Err(anyhow::anyhow!("it lies outside of {}", self.base.display()))
                .hint("go to the folder where it was recorded, or name the folder that holds the files");
        };
        Ok(Below::new(Arc::clone(&self.root), below.to_owned()))
    }
}

/// An absolute path without `.` and `..`, by its words alone.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// A text after edits; `None` where one does not fit.
fn edited(text: &str, edits: &[TextEdit]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for TextEdit { at, remove, insert } in edits {
        out.push_str(text.get(copied..*at)?);
        text.get(*at..)?.strip_prefix(remove.as_str())?;
        out.push_str(insert);
        copied = at + remove.len();
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

/// The object where it stood, else the only one of its kind and name.
fn find(text: &str, entry: &ObjectEntry, limits: &Limits) -> Option<(Place, Document)> {
    let mut same: Vec<_> =
        objects_at(text, limits).into_iter().filter(|(_, object)| entry.is(&object.identity)).collect();
    let there =
        same.iter().position(|(place, _)| place.piece == entry.document && place.pointer == entry.pointer);
    match there {
        Some(at) => Some(same.swap_remove(at)),
        None if same.len() == 1 => same.pop(),
        None => None,
    }
}

/// The first key that the patch would add where there is one by now.
fn occupied(document: &Value, entry: &ObjectEntry) -> Option<Pointer> {
    let mut value = document.clone();
    for op in &entry.revert.0 {
        if let Op::Add { path, .. } = op
            && let Some((parent, _)) = path.split_last()
            && parent.resolve(&value).is_some_and(Value::is_object)
            && path.resolve(&value).is_some()
        {
            return Some(path.clone());
        }
        value = apply(&value, &domain::patch::Patch(vec![op.clone()])).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::record::edits;
    use super::*;

    #[test]
    fn edits_lead_from_one_text_to_the_other() {
        let texts = ["", "a", "a\n", "a\nb\nc\n", "b\nc", "a\nx\nc\n", "\u{feff}a\r\nb\r\n", "a\r\n"];
        for from in texts {
            for to in texts {
                assert_eq!(edited(from, &edits(from, to)).as_deref(), Some(to), "{from:?} {to:?}");
            }
        }
        let odd = |at, remove: &str| TextEdit { at, remove: remove.to_owned(), insert: String::new() };
        for edit in [odd(9, ""), odd(0, "b"), odd(1, "é")] {
            assert_eq!(edited("éa", &[edit]), None);
        }
    }

    #[test]
    fn a_path_is_cleaned() {
        assert_eq!(cleaned(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(cleaned(Path::new("/../../a")), Path::new("/a"));
    }
}
