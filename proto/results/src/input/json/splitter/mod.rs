//! Finds the bounds of each value of a JSON array (or of JSON lines) without parsing it. The array may stand under a key of
//! an object.
//!
//! *Invariant*: the buffer never holds more than one value within the size limit and one read beyond it.

use std::io::Read;

use memchr::{memchr_iter, memchr2, memrchr};

use crate::file_error::{FileError, Place};

mod wrapped;

/// Bytes read at a time.
const CHUNK: usize = 1 << 16;

const REPAIR: &str = "repair the JSON there, or write the file again";

/// A stream of bytes, cut into values.
#[derive(Debug)]
pub(super) struct Splitter<R> {
    name: String,
    reader: R,
    buffer: Vec<u8>,
    /// First byte of `buffer` that is not consumed.
    start: usize,
    /// Place of `buffer[start]`.
    place: Position,
    limit: usize,
    state: State,
    /// Whether the array stands in an object.
    is_wrapped: bool,
    ended: bool,
}

/// Where the stream stands.
#[derive(Debug, Clone, Copy)]
struct Position {
    byte: u64,
    line: u64,
    /// Bytes before the current line.
    line_start: u64,
}

impl Position {
    fn advance(&mut self, bytes: &[u8]) {
        if let Some(last) = memrchr(b'\n', bytes) {
            self.line += memchr_iter(b'\n', bytes).count() as u64;
            self.line_start = self.byte + last as u64 + 1;
        }
        self.byte += bytes.len() as u64;
    }

    fn place(self) -> Place {
        Place { byte: self.byte, line: Some((self.line, self.byte - self.line_start + 1)) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing seen yet.
    Start,
    /// After `[`: a value or `]`.
    First,
    /// After a value of an array: `,` or `]`.
    Comma,
    /// After `,`: a value.
    Value,
    /// Values without an array around them.
    Lines,
    /// After the `]` of an array in an object: a further member, or `}`.
    Members,
    /// After `]` or `}`: nothing but blanks.
    End,
}

/// One value, not parsed.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) content: Content<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    /// Its text and how deep brackets nest in it.
    Text { bytes: &'a [u8], depth: usize },
    /// Longer than the limit; skipped.
    TooLarge { bytes: u64, limit: usize },
}

impl Raw<'_> {
    /// The parser's complaint at its place in the file.
    pub(super) fn syntax_error(&self, error: &serde_json::Error) -> FileError {
        let Content::Text { bytes, .. } = self.content else {
            return FileError::new(self.name, Some(self.place), "is too large", REPAIR);
        };
        let (line, column) = (error.line().max(1), error.column().max(1));
        let line_start: usize =
            bytes.split_inclusive(|&byte| byte == b'\n').take(line - 1).map(<[u8]>::len).sum();
        let (first_line, first_column) = self.place.line.unwrap_or((1, 1));
        let before = if line == 1 { first_column - 1 } else { 0 };
        let place = Place {
            byte: self.place.byte + (line_start + column - 1) as u64,
            line: Some((first_line + line as u64 - 1, before + column as u64)),
        };
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        FileError::new(self.name, Some(place), format!("is broken JSON: {what}"), REPAIR)
    }
}

/// A value being measured.
#[derive(Default)]
struct Scan {
    depth: usize,
    deepest: usize,
    in_string: bool,
    escaped: bool,
    /// A number, a word or garbage: ends before the next separator.
    scalar: bool,
}

impl Scan {
    /// Looks at `bytes`, which begin where the last call ended; gives how many belong to the value when it ends here.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            let at = next;
            next += 1;
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    continue;
                }
                // A record is mostly its manifest, one long text.
                let rest = bytes.get(at..).unwrap_or_default();
                let found = memchr2(b'"', b'\\', rest)?;
                next += found;
                if rest.get(found) == Some(&b'\\') {
                    self.escaped = true;
                    continue;
                }
                self.in_string = false;
                if self.depth == 0 {
                    return Some(next);
                }
                continue;
            }
            if self.scalar {
                if matches!(byte, b',' | b']' | b'}' | b'[' | b'{' | b'"') || byte.is_ascii_whitespace() {
                    return Some(at);
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                }
                b'}' | b']' => {
                    // At depth 0 only as the first byte: garbage that the parser will name.
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ if self.depth == 0 => self.scalar = true,
                _ => {}
            }
        }
        None
    }
}

impl<R: Read> Splitter<R> {
    pub(super) fn new(name: &str, reader: R, limit: usize) -> Self {
        Self {
            name: name.to_owned(),
            reader,
            buffer: Vec::new(),
            start: 0,
            place: Position { byte: 0, line: 1, line_start: 0 },
            limit,
            state: State::Start,
            is_wrapped: false,
            ended: false,
        }
    }

    /// The next value, `None` at the end.
    pub(super) fn next_value(&mut self) -> Result<Option<Raw<'_>>, FileError> {
        loop {
            let Some(byte) = self.peek()? else { return self.end_of_file().map(|()| None) };
            match (self.state, byte) {
                (State::Start, b'[') => self.step(State::First),
                (State::Start, b'{') => {
                    self.is_wrapped = self.enter_list()?;
                    self.state = if self.is_wrapped { State::First } else { State::Lines };
                }
                // A byte order mark is not valid JSON, but editors write it.
                (State::Start, 0xef) if self.skip_mark()? => {}
                (State::Start, _) => {
                    return Err(self.error(
                        "is neither a JSON array nor JSON lines",
                        "name a detections file, or a folder for YAML",
                    ));
                }
                (State::First | State::Comma, b']') if self.is_wrapped => self.step(State::Members),
                (State::First | State::Comma, b']') | (State::Members, b'}') => self.step(State::End),
                (State::Members, b',') => self.next_member()?,
                (State::Members, _) => return Err(self.error("expected ',' or '}' after a list", REPAIR)),
                (State::Comma, b',') => self.step(State::Value),
                (State::Comma, _) => return Err(self.error("expected ',' or ']' after an entry", REPAIR)),
                (State::End, _) => {
                    let close = if self.is_wrapped { '}' } else { ']' };
                    return Err(self.error(&format!("has text after the closing '{close}'"), REPAIR));
                }
                (State::Value, b']') => return Err(self.error("has a ',' before the closing ']'", REPAIR)),
                (State::First | State::Value, b',') => {
                    return Err(self.error("expected an entry, found ','", REPAIR));
                }
                (State::First | State::Value | State::Lines, _) => return self.value().map(Some),
            }
        }
    }

    /// Measures the value that begins here and consumes it.
    fn value(&mut self) -> Result<Raw<'_>, FileError> {
        let place = self.place.place();
        let mut scan = Scan::default();
        let mut scanned = 0;
        let mut dropped = 0_u64;
        let end = loop {
            let fresh = self.buffer.get(self.start + scanned..).unwrap_or_default();
            if let Some(length) = scan.feed(fresh) {
                break scanned + length;
            }
            scanned += fresh.len();
            if scanned > self.limit || dropped > 0 {
                dropped += scanned as u64;
                self.consume(scanned);
                scanned = 0;
            }
            if !self.fill()? {
                if scan.scalar {
                    break scanned;
                }
                let what = format!("ends inside the entry that begins at {place}");
                return Err(self.error(&what, "fetch the file again: it was cut short"));
            }
        };
        self.state = if self.state == State::Lines { State::Lines } else { State::Comma };
        let from = self.start;
        self.consume(end);
        let bytes = self.buffer.get(from..from + end).unwrap_or_default();
        let content = if dropped > 0 || end > self.limit {
            Content::TooLarge { bytes: dropped + end as u64, limit: self.limit }
        } else {
            Content::Text { bytes, depth: scan.deepest }
        };
        Ok(Raw { name: &self.name, place, content })
    }

    /// The next byte that is not whitespace, not consumed.
    fn peek(&mut self) -> Result<Option<u8>, FileError> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(blanks) = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
                let byte = rest.get(blanks).copied();
                self.consume(blanks);
                return Ok(byte);
            }
            self.consume(rest.len());
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Consumes a byte order mark at the very beginning.
    fn skip_mark(&mut self) -> Result<bool, FileError> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.place.byte != 0 {
            return Ok(false);
        }
        while self.buffer.len() - self.start < MARK.len() && self.fill()? {}
        let found = self.buffer.get(self.start..).is_some_and(|rest| rest.starts_with(MARK));
        if found {
            self.consume(MARK.len());
            self.place.line_start = self.place.byte;
        }
        Ok(found)
    }

    fn end_of_file(&self) -> Result<(), FileError> {
        match self.state {
            State::End | State::Lines => Ok(()),
            State::Start => Err(self.error("is empty", "an empty corpus is written as []")),
            State::First | State::Comma | State::Value => {
                Err(self.error("ends before the closing ']'", "fetch the file again: it was cut short"))
            }
            State::Members => {
                Err(self.error("ends before the closing '}'", "fetch the file again: it was cut short"))
            }
        }
    }

    fn step(&mut self, state: State) {
        self.consume(1);
        self.state = state;
    }

    fn consume(&mut self, bytes: usize) {
        let end = (self.start + bytes).min(self.buffer.len());
        self.place.advance(self.buffer.get(self.start..end).unwrap_or_default());
        self.start = end;
    }

    /// Reads on; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, FileError> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = loop {
            match self.reader.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| {
            FileError::read(&self.name, Some(Place::byte(self.place.byte + filled as u64)), error)
        })?;
        self.buffer.truncate(filled + read);
        self.ended = read == 0;
        Ok(!self.ended)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn error(&self, what: &str, remedy: &'static str) -> FileError {
        FileError::new(&self.name, Some(self.place.place()), what, remedy)
    }
}
