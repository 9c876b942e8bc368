//! Findings with their location in the user's file.

use domain::config::Limits;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use engine::document::Identity;
use engine::policies::{self, Finding, Severity};
use engine::yaml::{self, Spans};
use serde::Serialize;

use corpus::{FileScan, Place, Scanned};

/// A finding and its location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Located {
    pub(crate) policy: PolicyId,
    /// Scanner's id of the check.
    pub(crate) check: &'static str,
    /// `warning` or `error`.
    pub(crate) severity: &'static str,
    /// Message of the check.
    pub(crate) message: String,
    /// Path as the user gave it.
    pub(crate) path: String,
    /// Region of the offending node in the file.
    #[serde(flatten)]
    pub(crate) region: Region,
    /// 0-based number of the file's document.
    pub(crate) document: usize,
    /// Offending node in that document.
    pub(crate) pointer: Pointer,
    pub(crate) kind: String,
    /// Namespace of the object; may be empty.
    pub(crate) namespace: String,
    /// Name of the object; may be empty.
    pub(crate) name: String,
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

/// The findings of a file in the order of its objects, each with its location.
pub(crate) fn locate(file: &FileScan, limits: &Limits) -> Vec<Located> {
    let mut lines = None;
    let mut spans: Option<(usize, Spans)> = None;
    let mut located = Vec::new();
    for object in file.objects.iter().filter(|object| !object.findings.is_empty()) {
        let lines = lines.get_or_insert_with(|| Lines::new(&file.text));
        let piece = object.place.piece;
        if spans.as_ref().is_none_or(|(known, _)| *known != piece) {
            let loaded = yaml::load_with_spans(object.place.text(&file.text), limits);
            spans = Some((piece, loaded.map(|loaded| loaded.spans).unwrap_or_default()));
        }
        let Some((_, spans)) = &spans else { continue };
        located.extend(object.findings.iter().map(|finding| one(finding, object, file, lines, spans)));
    }
    located
}

fn one(finding: &Finding, object: &Scanned, file: &FileScan, lines: &Lines, spans: &Spans) -> Located {
    let checks = policies::policy(finding.policy).checks();
    let severity =
        checks.iter().find(|check| check.id == finding.check).map_or(Severity::Warning, |c| c.severity);
    let pointer = below(&object.place.pointer, &finding.pointer);
    let Identity { kind, namespace, name, .. } = object.document.identity.clone();
    Located {
        policy: finding.policy,
        check: finding.check,
        severity: severity_word(severity),
        message: sensitive::mask_text(&finding.message),
        path: file.path.clone(),
        region: region(&pointer, &object.place, &file.text, lines, spans),
        document: object.place.piece,
        pointer,
        kind,
        namespace,
        name,
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
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect())
    }

    fn region(&self, text: &str, start: usize, end: usize) -> Region {
        let (line, column) = self.of(text, start);
        let (end_line, end_column) = self.of(text, end);
        Region { line, column, end_line, end_column }
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
mod tests {
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
