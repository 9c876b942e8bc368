//! Pairs of a name and a value, whatever language writes them: JSON, YAML, INI, TOML, properties, `.env`, shell, ADO, libpq,
//! PHP, Python, attributes of XML, queries.
//!
//! A separator (`=`, `:`, `=>`, the comma of PHP's `define`) has a name before it and a value behind it. Where the value
//! ends depends on what surrounds it: see [`end_of_bare`].

use std::ops::Range;

use super::window;
use crate::boundaries;
use crate::forms;
use crate::names;

/// Bytes of a value by which it is judged: a line may hold thousands of pairs.
const JUDGED: usize = 512;

/// Longest name.
const LONGEST_NAME: usize = 120;

/// Adds the values whose names say that they are secrets.
pub(super) fn find(text: &str, prose: bool, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let lines_are_pairs = is_file_of_pairs(text);
    let mut line = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes.get(at).copied().unwrap_or_default();
        if byte == b'\n' {
            line = at + 1;
        }
        let next = separator(bytes, at).and_then(|after| {
            let name = name_before(text, line, at, byte)?;
            let pair = Pair { text, line, name, after, byte, lines_are_pairs, prose };
            pair.secret()
        });
        match next {
            Some(range) => {
                at = range.end.max(at + 1);
                found.push(range);
            }
            None => at += 1,
        }
    }
}

/// Where the value may begin if there is a separator at `at`.
fn separator(bytes: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).and_then(|at| bytes.get(at)).copied();
    let next = bytes.get(at + 1).copied();
    match bytes.get(at)? {
        b'=' if matches!(next, Some(b'=' | b'~')) || matches!(before, Some(b'=' | b'!' | b'<' | b'>')) => {
            None
        }
        b'=' if next == Some(b'>') => Some(at + 2),
        b':' if next == Some(b':') || before == Some(b':') => None,
        b':' if next == Some(b'=') => None,
        b':' if next == Some(b'/') && bytes.get(at + 2) == Some(&b'/') => None,
        b'=' | b':' => Some(at + 1),
        // `define('NAME', 'value')`
        b',' if matches!(before, Some(b'\'' | b'"')) => Some(at + 1),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy)]
struct Name<'t> {
    text: &'t str,
    start: usize,
    quoted: bool,
}

/// The name in front of a separator, on the line that begins at `line`.
fn name_before(text: &str, line: usize, at: usize, separator: u8) -> Option<Name<'_>> {
    let from = line.max(boundaries::floor(text, at.saturating_sub(LONGEST_NAME)));
    let before = text.get(from..at)?;
    // `:=`, `+=`, `?=` of make and Go; `["name"] =` of Python and PHP.
    let before = if separator == b'=' { before.trim_end_matches([':', '+', '?', '.']) } else { before };
    let before = before.trim_end_matches([' ', '\t']).trim_end_matches([']', ')']);
    let quote = before.chars().next_back().filter(|c| "\"'`".contains(*c));
    if let Some(quote) = quote {
        let inner = before.get(..before.len() - 1)?.trim_end_matches('\\');
        let open = inner.rfind(quote)?;
        let name = inner.get(open + 1..)?;
        // The comma of `define('NAME', 'value')` and the like; others stand between the items of lists.
        let called = before.get(..open).is_some_and(|before| before.trim_end_matches('\\').ends_with('('));
        return (!name.is_empty() && (separator != b',' || called)).then_some(Name {
            text: name,
            start: from + open + 1,
            quoted: true,
        });
    }
    if separator == b',' {
        return None;
    }
    let legal = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    let start = before.char_indices().rev().take_while(|(_, c)| legal(*c)).last().map(|(start, _)| start)?;
    let name = before.get(start..)?;
    let bare = name.trim_start_matches(['-', '/', '.']);
    (!bare.is_empty()).then_some(Name { text: bare, start: from + start, quoted: false })
}

struct Pair<'t> {
    text: &'t str,
    /// Where the line begins.
    line: usize,
    name: Name<'t>,
    /// Where the value may begin.
    after: usize,
    byte: u8,
    lines_are_pairs: bool,
    prose: bool,
}

impl Pair<'_> {
    /// The value, where it is a secret.
    fn secret(&self) -> Option<Range<usize>> {
        // Most names are settled without their value.
        if !names::may_be_secret(self.name.text) {
            return None;
        }
        let rest = window(self.text, self.after);
        let lead = rest.len() - rest.trim_start_matches([' ', '\t', '(']).len();
        let start = self.after + lead;
        let value = rest.get(lead..)?;
        // `user:password` and `key:value` without a space are pairs only under a name that leaves no doubt.
        if self.byte == b':'
            && lead == 0
            && !self.name.quoted
            && !value.starts_with(['"', '\'', '\n', '-'])
            && !self.is_told_by_name()
        {
            return None;
        }
        if self.byte == b':'
            && value.trim_start_matches(['|', '>', '-', '+']).starts_with('\n')
            && value.starts_with(['|', '>'])
        {
            return self.block(start);
        }
        let (start, value) = match self.byte {
            // `${NAME:-default}`
            b':' if value.starts_with('-') && lead == 0 => (start + 1, value.get(1..)?),
            _ => (start, value),
        };
        let near = self.text.get(..boundaries::floor(self.text, start + JUDGED))?;
        let mut range = self.extent(near, start, value)?;
        let (skipped, judged) = without_scheme(near.get(range.clone())?);
        // In prose a name and a colon announce a sentence.
        let told = !self.prose || forms::is_valued(judged);
        if !told || !names::is_secret(self.name.text, judged) {
            return None;
        }
        if near.len() < self.text.len() && range.end + 3 >= near.len() {
            range = self.extent(self.text, start, value)?;
        }
        Some(range.start + skipped..range.end)
    }

    /// Whether `name:value` without a blank is a pair: under a name that leaves no doubt and is not a part of a path, an
    /// image or a resource.
    fn is_told_by_name(&self) -> bool {
        let before = self.text.get(..self.name.start).and_then(|before| before.chars().next_back());
        names::is_noun(self.name.text) && !self.name.text.contains('/') && !matches!(before, Some(':' | '/'))
    }

    /// From where to where the value goes, without its quotes.
    fn extent(&self, text: &str, start: usize, value: &str) -> Option<Range<usize>> {
        let escaped = value.strip_prefix('\\').filter(|rest| rest.starts_with(['"', '\'']));
        if let Some(rest) = escaped {
            let quote = rest.get(..1)?;
            let inner = text.get(start + 2..)?;
            let end = inner.find(&format!("\\{quote}")).unwrap_or_else(|| line_end(inner));
            return Some(start + 2..start + 2 + end);
        }
        if let Some(quote) = value.chars().next().filter(|c| "\"'`".contains(*c)) {
            let inner = text.get(start + 1..)?;
            let triple = inner.starts_with(&format!("{quote}{quote}"));
            let (skip, end) = if triple {
                let close = format!("{quote}{quote}{quote}");
                (2, inner.get(2..)?.find(&close).map_or(inner.len(), |end| end + 2))
            } else {
                (0, close(inner, quote))
            };
            return Some(start + 1 + skip..start + 1 + end.max(skip));
        }
        if self.byte == b',' {
            return None;
        }
        let rest = text.get(start..)?;
        let end = self.end_of_bare(rest, start);
        let bare = rest.get(..end)?;
        let trimmed = bare.trim_end();
        // A bracket that closes what was opened before the value.
        let closing = trimmed.trim_end_matches(|c| match c {
            ')' => !trimmed.contains('('),
            '}' => !trimmed.contains('{'),
            ']' => !trimmed.contains('['),
            ',' | ';' => true,
            _ => false,
        });
        Some(start..start + closing.len())
    }

    /// Where a value without quotes ends:
    /// - in a query at `&`, in an ADO string at `;`, in a list of options at `,`, in a flow map of YAML at `,` or `}`;
    /// - where the line is nothing but this pair (YAML, INI, properties, a header): at the end of the line, before a comment;
    /// - elsewhere (shell, libpq) at white space or a quote.
    fn end_of_bare(&self, rest: &str, start: usize) -> usize {
        let line = rest.get(..line_end(rest)).unwrap_or(rest);
        let head = self.text.get(self.line..self.name.start).unwrap_or_default();
        let before = head.trim_end().chars().next_back();
        let until = |stops: &str| line.find(|c: char| stops.contains(c)).unwrap_or(line.len());
        match before {
            Some('?' | '&') => return until("&#; \t\"'`<>"),
            Some(';') => return until(";\"'\n"),
            Some(',') if self.byte == b'=' => return until(",; \t\"'"),
            Some('{' | ',') => return until(",}\"'"),
            _ => {}
        }
        let ado = line.find(';').is_some_and(|at| {
            line.get(at + 1..).and_then(|more| more.split_once('=')).is_some_and(|(name, _)| {
                name.len() <= 40
                    && !name.contains('&')
                    && name.chars().all(|c| c.is_alphanumeric() || c == ' ' || c == '_')
            })
        });
        if ado {
            return until(";");
        }
        let alone = ALONE.contains(
            &head.trim().trim_start_matches(['#', '/', ';', '-', '*']).trim().to_ascii_lowercase().as_str(),
        );
        let spaced =
            self.byte == b':' || self.text.get(..start).is_some_and(|before| before.ends_with([' ', '\t']));
        let whole_line =
            alone && (spaced || self.lines_are_pairs || !line.trim().contains(char::is_whitespace));
        if whole_line && !head.contains('{') {
            return line.find(" #").unwrap_or(line.len());
        }
        if self.byte == b':' {
            return line
                .find(['"', '\'', '`', '}'])
                .unwrap_or(line.len())
                .min(line.find(", ").unwrap_or(line.len()));
        }
        line.find(|c: char| c.is_whitespace() || "\"'`".contains(c)).unwrap_or(line.len())
    }

    /// The lines of a block scalar: those that are indented more than the name.
    fn block(&self, start: usize) -> Option<Range<usize>> {
        let indent = self.text.get(self.line..)?.bytes().take_while(|byte| *byte == b' ').count();
        let begin = start + self.text.get(start..)?.find('\n')? + 1;
        let mut end = begin;
        for line in self.text.get(begin..)?.split_inclusive('\n') {
            let deep = line.bytes().take_while(|byte| *byte == b' ').count() > indent;
            if !deep && !line.trim().is_empty() {
                break;
            }
            end += line.len();
        }
        let block = self.text.get(begin..end)?;
        let lead = block.len() - block.trim_start().len();
        let value = block.trim();
        names::is_secret(self.name.text, window(value, 0)).then(|| begin + lead..begin + lead + value.len())
    }
}

/// What may stand before a name on a line of its own.
const ALONE: [&str; 16] = [
    "",
    "export",
    "set",
    "env",
    "arg",
    "var",
    "let",
    "const",
    "local",
    "declare",
    "setenv",
    "- ",
    "export -x",
    "readonly",
    "public",
    "private",
];

/// Where a quoted text ends; quotes may be escaped or doubled.
fn close(inner: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            c if c == quote && !escaped => return at,
            _ => escaped = false,
        }
    }
    inner.len()
}

fn line_end(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

/// `Bearer x`: only `x` is secret.
fn without_scheme(value: &str) -> (usize, &str) {
    const SCHEMES: [&str; 7] = ["basic ", "bearer ", "token ", "digest ", "apikey ", "key ", "negotiate "];
    let lower = value.get(..boundaries::floor(value, 10)).unwrap_or_default().to_ascii_lowercase();
    let length = SCHEMES.iter().find(|scheme| lower.starts_with(**scheme)).map_or(0, |scheme| scheme.len());
    match value.get(length..) {
        Some(rest) if !forms::is_null(rest) && !rest.is_empty() => (length, rest),
        _ => (0, value),
    }
}

/// Whether every line is a pair, a comment or the title of a section, so that values go to the end of their lines.
fn is_file_of_pairs(text: &str) -> bool {
    let mut pairs = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()).take(400) {
        if line.starts_with(['#', ';', '[', '!']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, _)) = line.split_once(['=', ':']) else { return false };
        if name.trim().contains(char::is_whitespace) {
            return false;
        }
        pairs += 1;
    }
    pairs > 1
}
