//! Splits the text of a file into its objects, each with its location.

use std::collections::BTreeMap;

use domain::config::Limits;
use domain::outcome::ErrorKind;
use domain::pointer::Pointer;
use domain::record::Problem;
use engine::document::{Document, DocumentError};
use engine::yaml::{self, LoadError, Piece, Spans};

/// Where an object stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 0-based number of the file's document (of those that are not empty).
    pub piece: usize,
    /// Bytes of the file before the document.
    pub offset: usize,
    /// Bytes of the document.
    pub length: usize,
    /// Lines of the file before the document.
    pub lines: usize,
    /// The object in its document: an item of a `List`, else the root.
    pub pointer: Pointer,
}

impl Place {
    fn of(piece: &Piece<'_>, number: usize, mark: usize) -> Self {
        Self {
            piece: number,
            offset: piece.byte_offset + mark,
            length: piece.text.len(),
            lines: piece.line_offset,
            pointer: Pointer::ROOT,
        }
    }

    /// The place of a document that is a text of its own.
    pub fn whole(text: &str) -> Self {
        Self { piece: 0, offset: 0, length: text.len(), lines: 0, pointer: Pointer::ROOT }
    }

    /// The document's text in that of its file.
    pub fn text<'t>(&self, file: &'t str) -> &'t str {
        file.get(self.offset..self.offset + self.length).unwrap_or_default()
    }

    /// The object's own text: the document's, or, of an item of a `List`, the item written anew.
    pub fn object_text(&self, file: &str, object: &Document) -> String {
        if self.pointer == Pointer::ROOT { self.text(file).to_owned() } else { yaml::to_yaml(&object.value) }
    }
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// What sort of trouble.
    pub problem: Problem,
    /// Line of the file, from 1.
    pub line: usize,
}

/// Whether the places of nodes in their texts are recorded as a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Each node's.
    Recorded,
    /// None: nothing points at them.
    Left,
}

/// A file's text, read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Its objects in their order, `List`s flattened.
    pub objects: Vec<(Place, Result<Document, Unreadable>)>,
    /// Where the nodes of each document stand, by its number; empty unless recorded.
    pub spans: BTreeMap<usize, Spans>,
}

/// Reads the documents of a file's text.
pub(crate) fn parse(file: &str, limits: &Limits, positions: Positions) -> Parsed {
    let mut parsed = Parsed::default();
    for (place, text) in pieces(file) {
        let read = match positions {
            Positions::Recorded => Document::parse_with_spans(text, limits),
            Positions::Left => Document::parse(text, limits).map(|document| (document, Spans::new())),
        };
        match read {
            Ok((document, spans)) => {
                if positions == Positions::Recorded {
                    parsed.spans.insert(place.piece, spans);
                }
                parsed.objects.extend(flatten(&place, document));
            }
            Err(error) => {
                let trouble = unreadable(&error, text, place.lines);
                parsed.objects.push((place, Err(trouble)));
            }
        }
    }
    parsed
}

/// The objects of a file's text that can be read, each with its place.
pub fn objects_at(file: &str, limits: &Limits) -> Vec<(Place, Document)> {
    let read = parse(file, limits, Positions::Left).objects.into_iter();
    read.filter_map(|(place, object)| Some((place, object.ok()?))).collect()
}

/// The documents of a file that are not empty.
pub(crate) fn pieces(file: &str) -> Vec<(Place, &str)> {
    // The splitter does not count a byte-order mark.
    let mark = file.len() - file.strip_prefix('\u{feff}').unwrap_or(file).len();
    let pieces = yaml::split(file).into_iter().enumerate();
    pieces.map(|(number, piece)| (Place::of(&piece, number, mark), piece.text)).collect()
}

fn flatten(place: &Place, document: Document) -> impl Iterator<Item = (Place, Result<Document, Unreadable>)> {
    let objects = document.flatten().into_iter();
    objects.map(move |(pointer, object)| (Place { pointer, ..place.clone() }, Ok(object)))
}

fn unreadable(error: &DocumentError, text: &str, lines: usize) -> Unreadable {
    let line = lines
        + match error {
            DocumentError::Load(LoadError::Syntax { line, .. }) => *line,
            _ => 1,
        };
    let kind = error.error_kind();
    let (kind, message) = if kind == ErrorKind::UnparsableDocument && text.contains("{{") {
        let message =
            "holds template placeholders ({{ … }}) that were never rendered; render the template first";
        (ErrorKind::UnrenderedTemplate, message.to_owned())
    } else {
        (kind, format!("{}; {}", without_place(error), remedy(kind)))
    };
    Unreadable { problem: Problem { kind, message }, line }
}

/// The parser counts lines from the document's beginning; people count from the file's.
fn without_place(error: &DocumentError) -> String {
    match error {
        DocumentError::Load(LoadError::Syntax { column, message, .. }) => {
            format!("column {column}: {message}")
        }
        other => other.to_string(),
    }
}

const fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::LimitExceeded => "raise the limit in the configuration, or leave the document out",
        ErrorKind::NotAnObject => "leave it out: it is no Kubernetes object",
        _ => "mend the YAML",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_know_where_they_stand() {
        let file = "\u{feff}# c\n---\nkind: Pod\n---\nkind: List\nitems:\n- kind: Service\n- kind: Pod\n---\na: [\n---\nb: {{ x }}: y\n---\n5\n";
        let found = parse(file, &Limits::default(), Positions::Left).objects;
        let seen: Vec<_> = found
            .iter()
            .map(|(place, content)| {
                let what = match content {
                    Ok(object) => object.identity.kind.clone(),
                    Err(trouble) => format!("{} at {}", trouble.problem.kind, trouble.line),
                };
                (place.piece, place.pointer.as_str(), what)
            })
            .collect();
        let seen: Vec<_> =
            seen.iter().map(|(piece, pointer, what)| (*piece, *pointer, what.as_str())).collect();
        assert_eq!(
            seen,
            [
                (0, "", "Pod"),
                (1, "/items/0", "Service"),
                (1, "/items/1", "Pod"),
                (2, "", "unparsable_document at 11"),
                (3, "", "unrendered_template at 12"),
                (4, "", "not_an_object at 14"),
            ]
        );
        let (place, object) = &found[1];
        assert_eq!(place.text(file), "kind: List\nitems:\n- kind: Service\n- kind: Pod\n");
        assert_eq!(place.object_text(file, object.as_ref().unwrap()), "kind: Service\n");
        assert_eq!(found[0].0.text(file), "kind: Pod\n");
    }
}
