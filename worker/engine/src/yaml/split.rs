//! Splits a YAML stream into documents before parsing, so that one broken document does not affect the others.

use serde::de::IgnoredAny;

/// One document's share of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The document's text, without the separator line before it.
    pub text: &'a str,
    /// 0-based number of lines before it in the file.
    pub line_offset: usize,
    /// Bytes before it in the file, a byte order mark not counted.
    pub byte_offset: usize,
}

/// Splits at lines that begin with `---`, as Kubernetes clients do, at the end markers `...` (YAML 1.2 §9.1.2), and between
/// JSON objects that follow each other. Pieces with nothing but blanks and comments are left out.
pub fn split(text: &str) -> Vec<Piece<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pieces = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let mut offset = 0;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let end = offset + content.len();
        if let Some(rest) = content.strip_prefix("---")
            && (rest.trim().is_empty() || rest.starts_with([' ', '\t']))
        {
            push(&mut pieces, &text[start..offset], start_line, start);
            // Content behind the marker (`--- {a: 1}`) belongs to the new document.
            (start, start_line) = if rest.trim().is_empty() || rest.trim_start().starts_with('#') {
                (end, line + 1)
            } else {
                (offset + 3, line)
            };
        }
        if content.trim_end() == "..." {
            push(&mut pieces, &text[start..end], start_line, start);
            (start, start_line) = (end, line + 1);
        }
        offset = end;
    }
    push(&mut pieces, &text[start..], start_line, start);
    pieces
}

fn push<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str, line_offset: usize, byte_offset: usize) {
    let blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "..."
    };
    if text.lines().all(blank) {
        return;
    }
    let mut from = 0;
    for end in object_ends(text) {
        let lines = text[..from].matches('\n').count();
        let text = &text[from..end];
        pieces.push(Piece { text, line_offset: line_offset + lines, byte_offset: byte_offset + from });
        from = end;
    }
}

/// Where the JSON objects of a text end, each with the line break behind it, the last at the end of the text; that end alone
/// where the text is not a stream of several JSON objects.
fn object_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    if text.trim_start().starts_with('{') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
        while let Some(value) = values.next() {
            if value.is_err() {
                ends.clear();
                break;
            }
            let end = values.byte_offset();
            let rest = text[end..].trim_start_matches([' ', '\t', '\r']);
            ends.push(if rest.starts_with('\n') { text.len() - rest.len() + 1 } else { end });
        }
    }
    ends.pop();
    ends.push(text.len());
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_know_where_they_stood() {
        let pieces = split("# head\n---\na: 1\n--- # two\nb: 2\n---\n\n---\nc: |\n  ---\n");
        let seen: Vec<_> = pieces.iter().map(|p| (p.text, p.line_offset)).collect();
        assert_eq!(seen, [("a: 1\n", 2), ("b: 2\n", 4), ("c: |\n  ---\n", 8)]);
    }

    #[test]
    fn json_objects_that_follow_each_other_are_documents() {
        let seen = |text| {
            split(text).iter().map(|p| (p.text.to_owned(), p.line_offset, p.byte_offset)).collect::<Vec<_>>()
        };
        let piece = |text: &str, line, byte| (text.to_owned(), line, byte);
        assert_eq!(
            seen("{\"a\":\n1}\n{\"b\": 2}\n"),
            [piece("{\"a\":\n1}\n", 0, 0), piece("{\"b\": 2}\n", 2, 9)]
        );
        assert_eq!(seen("{} \r\n\n{}"), [piece("{} \r\n", 0, 0), piece("\n{}", 1, 5)]);
        assert_eq!(seen("{} {} {}").len(), 3);
        for one in ["{\"a\": 1}\n", "{a: 1}\n", "{\"a\": 1} {b: 2}\n", "{\"a\": 1", "- {}\n- {}\n"] {
            assert_eq!(seen(one), [piece(one, 0, 0)], "{one}");
        }
    }

    #[test]
    fn an_end_marker_ends_a_document() {
        let pieces = split("a: 1\n...\nb: |\n  ...\n...\n# end\n");
        let seen: Vec<_> = pieces.iter().map(|p| (p.text, p.line_offset)).collect();
        assert_eq!(seen, [("a: 1\n...\n", 0), ("b: |\n  ...\n...\n", 2)]);
    }

    #[test]
    fn content_behind_the_marker_stays() {
        let pieces = split("--- {a: 1}\n---x: 2\n");
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].text, " {a: 1}\n---x: 2\n");
    }
}
