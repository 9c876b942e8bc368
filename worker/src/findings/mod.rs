//! Findings with their location in the user's file.

pub(crate) mod change;
pub(crate) mod ci;
pub(crate) mod fingerprints;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod outcome;
pub(crate) mod rdjson;
pub(crate) mod review;
pub(crate) mod sarif;
pub(crate) mod unread;

use std::borrow::Cow;

use domain::pointer::Pointer;
use domain::policy::{PolicyId, PolicyName};
use domain::scanner::Scanner;
use engine::document::Identity;
use engine::k8s::View;
use engine::policies::{self, Finding, Severity};
use engine::yaml::Spans;
use serde::{Serialize, Serializer};

use corpus::{FileScan, Place, Scanned};

/// A finding and its location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Located {
    /// The policy of ours; where there is none, the scanner's id of the check.
    #[serde(serialize_with = "policy_text")]
    pub(crate) policy: PolicyName,
    /// Scanner's id of the check.
    pub(crate) check: Cow<'static, str>,
    /// `warning` or `error`.
    pub(crate) severity: &'static str,
    /// Message of the check.
    pub(crate) message: String,
    /// Path as the user gave it.
    pub(crate) path: String,
    /// Region of the offending node in the file; `None`: a program rendered the object, and where its source has the node is
    /// not known.
    #[serde(flatten)]
    pub(crate) region: Option<Region>,
    /// 0-based number of the file's document.
    pub(crate) document: usize,
    /// Offending node in that document.
    pub(crate) pointer: Pointer,
    pub(crate) kind: String,
    /// Namespace of the object; may be empty.
    pub(crate) namespace: String,
    /// Name of the object; may be empty.
    pub(crate) name: String,
    /// The scanner.
    pub(crate) tool: Scanner,
    /// The rule in the check; empty where checks have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rule: String,
    /// The program that rendered the object; `None`: it is what the file has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rendered_by: Option<&'static str>,
    /// What the finding does not take into account; not part of the fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Located {
    /// Its file with line and column for people; without where they are not known.
    pub(crate) fn place(&self) -> String {
        let Self { path, region, .. } = self;
        region.map_or_else(|| path.clone(), |region| format!("{path}:{}:{}", region.line, region.column))
    }

    /// Line and column for people; that it was rendered where they are not known.
    pub(crate) fn position(&self) -> String {
        self.region
            .map_or_else(|| "(rendered)".to_owned(), |region| format!("{}:{}", region.line, region.column))
    }

    /// What stands behind its message: that it was rendered, and its note.
    pub(crate) fn rendering(&self) -> String {
        let rendering = self.rendered_by.map(|program| format!(" (rendered by {program})"));
        rendering.unwrap_or_default() + &self.noted()
    }

    /// What stands behind its message where that it was rendered is said elsewhere.
    pub(crate) fn noted(&self) -> String {
        self.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default()
    }
}

/// What another scanner than the built-in detector found in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutsideFinding {
    pub(crate) tool: Scanner,
    pub(crate) policy: PolicyName,
    pub(crate) check: String,
    pub(crate) rule: String,
    pub(crate) message: String,
    pub(crate) severe: bool,
}

fn policy_text<S: Serializer>(policy: &PolicyName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(policy.as_str())
}

/// Part of a file. Lines and columns count characters from 1; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Region {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) end_line: usize,
    /// Column behind the last character.
    pub(crate) end_column: usize,
}

/// SARIF level of a severity.
pub(crate) const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The object of a finding, for people.
pub(crate) fn object_name(found: &Located) -> String {
    let name = if found.name.is_empty() { "(unnamed)" } else { &found.name };
    let namespace = if found.namespace.is_empty() { String::new() } else { format!("{}/", found.namespace) };
    format!("{} {namespace}{name}", found.kind)
}

/// The check, with its scanner where that is not the built-in detector.
pub(crate) fn check_name(found: &Located) -> String {
    match found.tool {
        Scanner::Builtin => found.check.to_string(),
        tool => format!("{tool}/{}", found.check),
    }
}

/// The findings of a file in the order of its objects, each with its location; of one whose positions were not recorded, its
/// document. `outside`: what other scanners found in each object; empty: none was asked.
pub(crate) fn locate(file: &FileScan, outside: &[Vec<OutsideFinding>]) -> Vec<Located> {
    let mut lines = None;
    let nowhere = Spans::new();
    let mut located = Vec::new();
    for (at, object) in file.objects.iter().enumerate() {
        let outside = outside.get(at).map(Vec::as_slice).unwrap_or_default();
        if object.findings.is_empty() && outside.is_empty() {
            continue;
        }
        let lines = lines.get_or_insert_with(|| Lines::new(&file.text));
        let spans = file.spans.get(&object.place.piece).unwrap_or(&nowhere);
        let place = |pointer: Pointer| {
            let pointer = below(&object.place.pointer, &pointer);
            (region(&pointer, &object.place, &file.text, lines, spans), pointer)
        };
        located.extend(object.findings.iter().map(|finding| {
            let (region, pointer) = place(finding.pointer.clone());
            one(finding, object, file, region, pointer)
        }));
        if outside.is_empty() {
            continue;
        }
        let view = View::new(&object.document, &object.neighbours);
        located.extend(outside.iter().map(|finding| {
            let (region, pointer) = place(node_of(finding, object, &view));
            of_outside(finding, object, file, region, pointer)
        }));
    }
    located
}

fn one(finding: &Finding, object: &Scanned, file: &FileScan, region: Region, pointer: Pointer) -> Located {
    let checks = policies::policy(finding.policy).checks();
    let severity =
        checks.iter().find(|check| check.id == finding.check).map_or(Severity::Warning, |c| c.severity);
    let Identity { kind, namespace, name, .. } = object.document.identity.clone();
    Located {
        policy: PolicyName::Known(finding.policy),
        check: Cow::Borrowed(finding.check),
        severity: severity_word(severity),
        message: sensitive::mask_text(&finding.message),
        path: file.path.clone(),
        region: Some(region),
        document: object.place.piece,
        pointer,
        kind,
        namespace,
        name,
        tool: Scanner::Builtin,
        rule: String::new(),
        rendered_by: None,
        note: replaced(finding, object),
    }
}

/// That a kustomization replaces the image of the finding: what is built from it may have a fixed tag.
fn replaced(finding: &Finding, object: &Scanned) -> Option<String> {
    if finding.policy != PolicyId::NoLatestTag || object.neighbours.objects().is_empty() {
        return None;
    }
    let view = View::new(&object.document, &object.neighbours);
    let kustomization = policies::image_replaced_by(&view, &finding.pointer)?;
    let folder = kustomization.rsplit_once('/').map_or(".", |(folder, _)| folder);
    Some(format!(
        "{kustomization} replaces this image when it is built: `--kustomize {folder}` judges what comes of it"
    ))
}

fn of_outside(
    finding: &OutsideFinding,
    object: &Scanned,
    file: &FileScan,
    region: Region,
    pointer: Pointer,
) -> Located {
    let Identity { kind, namespace, name, .. } = object.document.identity.clone();
    let severity = if finding.severe { Severity::Error } else { Severity::Warning };
    Located {
        policy: finding.policy.clone(),
        check: Cow::Owned(finding.check.clone()),
        severity: severity_word(severity),
        message: sensitive::mask_text(&finding.message),
        path: file.path.clone(),
        region: Some(region),
        document: object.place.piece,
        pointer,
        kind,
        namespace,
        name,
        tool: finding.tool,
        rule: finding.rule.clone(),
        rendered_by: None,
        note: None,
    }
}

/// Where another scanner's finding stands, which it does not say: where ours with the same message does; else at the path or
/// the container that the message names; else at the object.
fn node_of(finding: &OutsideFinding, object: &Scanned, view: &View<'_>) -> Pointer {
    let same =
        object.findings.iter().find(|ours| ours.check == finding.check && ours.message == finding.message);
    if let Some(ours) = same {
        return ours.pointer.clone();
    }
    let mut words = finding.message.split_whitespace();
    let path = words.rfind(|word| word.starts_with("/spec/") || word.starts_with("/metadata/"));
    let path = path.and_then(|path| Pointer::parse(path.trim_end_matches(['/', '.', ','])).ok());
    let named = |name: &str| !name.is_empty() && finding.message.contains(&format!("container \"{name}\""));
    let container = || view.containers.iter().find(|container| named(container.name));
    match path {
        Some(path) => view.nearest(path),
        None => container().map_or(Pointer::ROOT, |container| container.pointer.clone()),
    }
}

/// The pointer of a node of an object in the document that holds the object.
pub(crate) fn below(object: &Pointer, node: &Pointer) -> Pointer {
    node.keys().fold(object.clone(), |pointer, key| pointer.child(&key))
}

/// The region of the node, or of its nearest ancestor that is present in the text.
fn region(pointer: &Pointer, place: &Place, text: &str, lines: &Lines, spans: &Spans) -> Region {
    let mut nearest = Some(pointer.clone());
    while let Some(at) = nearest {
        if let Some(position) = spans.get(&at) {
            let start = place.offset + position.key.0;
            let end =
                text.get(..place.offset + position.value.1).map_or(start, |before| before.trim_end().len());
            return lines.region(text, start, end.max(start));
        }
        nearest = at.split_last().map(|(parent, _)| parent);
    }
    Region { line: place.lines + 1, column: 1, end_line: place.lines + 1, end_column: 1 }
}

/// Byte offsets of the beginnings of lines.
#[derive(Debug)]
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect())
    }

    pub(crate) fn region(&self, text: &str, start: usize, end: usize) -> Region {
        let (line, column) = self.of(text, start);
        let (end_line, end_column) = self.of(text, end);
        Region { line, column, end_line, end_column }
    }

    /// As [`Self::region`], with columns that count bytes.
    pub(crate) fn byte_region(&self, text: &str, start: usize, end: usize) -> Region {
        let Region { line, end_line, .. } = self.region(text, start, end);
        let column = |line: usize, at: usize| at - self.begin(text, line) + 1;
        Region { line, column: column(line, start), end_line, end_column: column(end_line, end) }
    }

    /// A region with columns that count bytes.
    pub(crate) fn in_bytes(&self, text: &str, region: &Region) -> Region {
        let column = |line: usize, column: usize| {
            let line = text.get(self.begin(text, line)..).unwrap_or_default();
            line.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>() + 1
        };
        let Region { line, end_line, .. } = *region;
        Region {
            line,
            column: column(line, region.column),
            end_line,
            end_column: column(end_line, region.end_column),
        }
    }

    /// Where a line begins, behind a byte-order mark.
    fn begin(&self, text: &str, line: usize) -> usize {
        let begin = self.0.get(line.wrapping_sub(1)).copied().unwrap_or(0);
        let mark = text.get(begin..).is_some_and(|line| line.starts_with('\u{feff}'));
        begin + if mark && begin == 0 { '\u{feff}'.len_utf8() } else { 0 }
    }

    fn of(&self, text: &str, at: usize) -> (usize, usize) {
        let line = self.0.partition_point(|begin| *begin <= at);
        let begin = self.0.get(line.wrapping_sub(1)).copied().unwrap_or(0);
        // A byte-order mark has no width.
        let characters =
            text.get(begin..at).unwrap_or_default().trim_start_matches('\u{feff}').chars().count();
        (line, characters + 1)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use domain::policy::PolicyId;

    use super::*;

    /// A finding of a warning or error at line 3.
    pub(crate) fn found(path: &str, message: &str) -> Located {
        Located {
            policy: PolicyName::Known(PolicyId::NoPrivileged),
            check: "privileged-container".into(),
            severity: "error",
            message: message.to_owned(),
            path: path.to_owned(),
            region: Some(Region { line: 3, column: 5, end_line: 3, end_column: 9 }),
            document: 0,
            pointer: Pointer::of(["spec"]),
            kind: "Pod".to_owned(),
            namespace: String::new(),
            name: "a".to_owned(),
            tool: Scanner::Builtin,
            rule: String::new(),
            rendered_by: None,
            note: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::config::Limits;
    use engine::yaml;

    use super::*;

    #[test]
    fn regions_are_those_of_the_file() {
        let text = "# ü\n--- {kind: Pod, ä: {b: [x]}}\n---\nkind: List\nitems:\n- a: |\n    t\n  b: 1\n";
        let lines = Lines::new(text);
        let pieces = yaml::split(text);
        let of = |piece: usize, pointer: &str| {
            let piece_text = pieces[piece].text;
            let place = Place {
                piece,
                offset: pieces[piece].byte_offset,
                length: piece_text.len(),
                lines: pieces[piece].line_offset,
                pointer: Pointer::ROOT,
            };
            let spans = yaml::load_with_spans(piece_text, &Limits::default()).unwrap().spans;
            let Region { line, column, end_line, end_column } =
                region(&Pointer::parse(pointer).unwrap(), &place, text, &lines, &spans);
            (line, column, end_line, end_column)
        };
        assert_eq!(of(0, "/ä/b/0"), (2, 25, 2, 26));
        assert_eq!(of(0, "/ä/missing"), (2, 17, 2, 28), "the nearest node that exists");
        assert_eq!(of(1, "/items/0/a"), (6, 3, 7, 6), "no trailing line break");
        assert_eq!(of(1, "/items/0"), (6, 3, 8, 7));
    }
}
