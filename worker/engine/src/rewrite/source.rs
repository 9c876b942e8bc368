//! A text with the positions of its nodes, and the edits of it.
//!
//! Every function that finds something unusual returns `None`; the caller then emits the whole document again.

use domain::pointer::Pointer;
use serde_json::Value;

use super::layout::{Layout, column};
use super::render;
use super::steps::Step;
use crate::yaml::{Loaded, Position, Spans, Tail};

/// A text as it stands between two edits.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) spans: &'a Spans,
    value: &'a Value,
    pub(super) layout: Layout,
    pub(super) json: bool,
}

/// An entry of a collection that stands in the text.
#[derive(Debug, Clone)]
pub(super) struct Child<'a> {
    pub(super) pointer: &'a Pointer,
    pub(super) position: Position,
}

impl<'a> Source<'a> {
    /// Takes a text and what the loader says of it. `json`: the text is JSON and must stay so.
    pub(super) fn new(text: &'a str, loaded: &'a Loaded, json: bool) -> Self {
        let layout = Layout::of(text, &loaded.spans);
        Self { text, spans: &loaded.spans, value: &loaded.value, layout, json }
    }

    /// The text after `step`.
    pub(super) fn follow(&self, step: &Step) -> Option<String> {
        match step {
            Step::Set(at, value) => self.set(at, value),
            Step::InsertKey(map, key, value) => self.insert_key(map, key, value),
            Step::RemoveKey(at) => self.remove_key(at),
            Step::InsertItem(list, index, value) => self.insert_item(list, *index, value),
            Step::RemoveItem(list, index) => self.remove_item(list, *index),
        }
    }

    /// Another name for an entry.
    pub(super) fn rename(&self, from: &Pointer, key: &str) -> Option<String> {
        let position = self.spans.get(from)?;
        let (start, end) = position.key;
        let old = self.text.get(start..end)?;
        let name = if self.json || old.starts_with('"') {
            Value::from(key).to_string()
        } else {
            render::flow_text(key, false)
        };
        (start < end).then(|| self.splice(start, end, &name))
    }

    pub(super) fn splice(&self, start: usize, end: usize, with: &str) -> String {
        let mut text = String::with_capacity(self.text.len() + with.len());
        text.push_str(&self.text[..start]);
        text.push_str(with);
        text.push_str(&self.text[end..]);
        text
    }

    /// The entries of the collection at `at`, in the order of the text.
    pub(super) fn children(&self, at: &Pointer) -> Vec<Child<'a>> {
        let below = format!("{at}/");
        let Ok(first) = Pointer::parse(below.clone()) else { return Vec::new() };
        let inside =
            self.spans.range(first..).take_while(|(pointer, _)| pointer.as_str().starts_with(&below));
        let direct = inside.filter(|(pointer, _)| !pointer.as_str()[below.len()..].contains('/'));
        let mut children: Vec<Child<'a>> =
            direct.map(|(pointer, position)| Child { pointer, position: *position }).collect();
        children.sort_by_key(|child| (child.position.key.0, child.position.value.0));
        children
    }

    /// Whether the node stands inside a collection in flow style.
    fn in_flow(&self, at: &Pointer) -> bool {
        let mut parent = at.split_last();
        while let Some((pointer, _)) = parent {
            if self.spans.get(&pointer).is_some_and(|position| position.flow) {
                return true;
            }
            parent = pointer.split_last();
        }
        false
    }

    /// Behind the last character of the node's own text; of a block scalar that keeps its blank lines, behind these.
    pub(super) fn end_of(&self, position: &Position) -> usize {
        let end = position.value.1.max(position.key.1);
        if position.tail == Tail::Kept {
            // The parser lets it reach over the indentation of what follows.
            return self.text.get(..end).map_or(end, |before| before.trim_end_matches(' ').len());
        }
        self.text.get(..end).map_or(end, |before| before.trim_end().len()).max(position.key.1)
    }

    /// Behind the line break of the line that holds `at`; the end of the text where there is none.
    pub(super) fn next_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// Where the line below what ends at `end` begins: `end` itself where that is behind a line break.
    fn line_below(&self, end: usize) -> usize {
        if self.text[..end].ends_with('\n') { end } else { self.next_line(end) }
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// What stands between `at` and the end of its line, without the line break.
    fn rest_of_line(&self, at: usize) -> &'a str {
        let rest = &self.text[at..self.next_line(at)];
        rest.trim_end_matches(['\n', '\r'])
    }

    /// Lines before the line at `start` that are comments in the same column: they speak of what begins there.
    fn with_comments_above(&self, start: usize, column: usize) -> usize {
        let mut from = start;
        while from > 0 {
            let above = self.line_start(from - 1);
            let line = &self.text[above..from];
            let body = line.trim_start_matches(' ');
            if !body.starts_with('#') || line.len() - body.len() != column {
                break;
            }
            from = above;
        }
        from
    }

    /// Comment lines from `from` on that are indented deeper than `column`: they stood inside what ends there.
    fn with_comments_inside(&self, from: usize, column: usize) -> usize {
        let mut to = from;
        while to < self.text.len() {
            let next = self.next_line(to);
            let line = &self.text[to..next];
            let body = line.trim_start_matches(' ');
            if !body.starts_with('#') || line.len() - body.len() <= column {
                break;
            }
            to = next;
        }
        to
    }

    /// As [`Self::with_comments_inside`], also behind blank lines.
    fn with_all_comments_inside(&self, from: usize, column: usize) -> usize {
        let (mut to, mut at) = (from, from);
        loop {
            let inside = self.with_comments_inside(at, column);
            if inside > at {
                to = inside;
            }
            let next = self.next_line(inside);
            if next == inside || !self.text[inside..next].trim().is_empty() {
                return to;
            }
            at = next;
        }
    }

    /// Behind the colon of a key or the dash of a list's entry.
    fn head_end(&self, at: &Pointer) -> Option<usize> {
        let position = self.spans.get(at)?;
        if position.key.0 == position.key.1 {
            return self.dash_of(at).map(|dash| dash + 1);
        }
        let rest = self.text.get(position.key.1..)?;
        rest.trim_start_matches(' ')
            .starts_with(':')
            .then(|| position.key.1 + rest.find(':').unwrap_or(0) + 1)
    }

    /// The dash of a list's entry in block style.
    fn dash_of(&self, at: &Pointer) -> Option<usize> {
        let (list, key) = at.split_last()?;
        let index: usize = key.parse().ok()?;
        let from = match index.checked_sub(1) {
            Some(before) => self.end_of(self.spans.get(&list.index(before))?),
            None if list == Pointer::ROOT => 0,
            None => self.head_end(&list)?,
        };
        let mut at = from;
        loop {
            let rest = self.text.get(at..)?;
            let skipped = rest.trim_start().len();
            at += rest.len() - skipped;
            let rest = &self.text[at..];
            match *rest.as_bytes().first()? {
                b'#' => at = self.next_line(at),
                b'-' if rest.len() == 1 || rest[1..].starts_with([' ', '\n', '\r']) => return Some(at),
                b'-' if at == 0 && rest.starts_with("---") => at += 3,
                b'&' | b'!' => at += rest.find([' ', '\n', '\r'])?,
                _ => return None,
            }
        }
    }

    /// Gives a node another value as a whole.
    fn set(&self, at: &Pointer, value: &Value) -> Option<String> {
        let position = self.spans.get(at)?;
        let parent = at.split_last();
        if self.in_flow(at) || (parent.is_none() && position.flow) {
            return self.set_in_flow(position, value);
        }
        let (parent, _) = parent?;
        let head = self.head_end(at)?;
        let end = self.end_of(position).max(head);
        let old = self.text.get(position.value.0..end).unwrap_or_default();
        let (anchor, old) = anchor_of(old);
        // A comment on the key's line, before a block that begins on the next one; with the blanks before it.
        let gap = self.text.get(head..position.value.0.max(head)).unwrap_or_default();
        let own_comment =
            gap.lines().next().map(str::trim_end).filter(|line| line.trim_start().starts_with('#'));
        let is_item = position.key.0 == position.key.1;
        if let Some(inline) = render::inline(value, old) {
            if own_comment.is_none() && !old.is_empty() && !old.starts_with(['|', '>']) && !gap.contains('\n')
            {
                // What separates the value from its key stays as well.
                let start = end - old.len();
                return Some(self.splice(start, end, &inline));
            }
            let comment = own_comment.unwrap_or_default();
            return Some(self.splice(head, end, &format!(" {anchor}{inline}{comment}")));
        }
        let rest = self.rest_of_line(end);
        let comment = own_comment.unwrap_or(rest.trim_end());
        if !comment.is_empty() && !comment.trim_start().starts_with('#') {
            return None;
        }
        let stop = end + rest.len();
        let column = if is_item { column(self.text, head - 1)? } else { self.key_column(&parent, position)? };
        // Rendered with a key or a dash of its own, which already stands in the text.
        let rendered = if is_item {
            render::item(value, column, self.layout)
        } else {
            render::entry("x", value, column, self.layout)
        };
        let body = rendered.get(column + if is_item { 1 } else { 2 }..)?;
        let with = match (comment, is_item) {
            ("", _) => body.to_owned(),
            (comment, true) => {
                let margin = " ".repeat(column + 2);
                format!("{comment}{}{margin}{}", self.layout.newline, body.trim_start_matches(' '))
            }
            // A literal block: its header stands on the key's line, and a comment may follow it.
            (comment, false) if body.starts_with(" |") || body.starts_with(" \"") => {
                let (first, others) = body.split_once(self.layout.newline).unwrap_or((body, ""));
                let newline = if others.is_empty() { "" } else { self.layout.newline };
                format!("{first}{comment}{newline}{others}")
            }
            (comment, false) => format!("{comment}{body}"),
        };
        Some(self.splice(head, stop, &with))
    }

    /// The column of an entry's key; where it shares its line with an anchor or a tag, that of a neighbour.
    pub(super) fn key_column(&self, map: &Pointer, position: &Position) -> Option<usize> {
        column(self.text, position.key.0).or_else(|| {
            let children = self.children(map);
            children.iter().find_map(|child| column(self.text, child.position.key.0))
        })
    }

    fn remove_key(&self, at: &Pointer) -> Option<String> {
        let (parent, _) = at.split_last()?;
        let children = self.children(&parent);
        let place = children.iter().position(|child| child.pointer == at)?;
        if children.len() < 2 {
            return self.set(&parent, &Value::Object(serde_json::Map::new()));
        }
        if self.spans.get(&parent)?.flow {
            return self.remove_in_flow(&children, place);
        }
        let position = children[place].position;
        self.remove_lines(position.key.0, &position, children.get(place + 1).map(|next| next.position.key.0))
    }

    fn remove_item(&self, list: &Pointer, index: usize) -> Option<String> {
        let children = self.children(list);
        if children.len() < 2 || children.len() != self.len_of(list)? {
            return None;
        }
        if self.spans.get(list)?.flow {
            return self.remove_in_flow(&children, index);
        }
        let dash = self.dash_of(&list.index(index))?;
        let next = (index + 1 < children.len()).then(|| self.dash_of(&list.index(index + 1)));
        let next = match next {
            Some(found) => Some(found?),
            None => None,
        };
        self.remove_lines(dash, &children[index].position, next)
    }

    pub(super) fn len_of(&self, list: &Pointer) -> Option<usize> {
        list.resolve(self.value)?.as_array().map(Vec::len)
    }

    /// Removes an entry that begins at `start`; `next` is where the entry behind it begins.
    fn remove_lines(&self, start: usize, position: &Position, next: Option<usize>) -> Option<String> {
        let column = column(self.text, start)?;
        let line = self.line_start(start);
        let end = self.line_below(self.end_of(position).max(start + 1));
        if self.text[line..start].bytes().all(|byte| byte == b' ') {
            let from = self.with_comments_above(line, column);
            let to = self.with_comments_inside(end, column);
            // The text may end without a line break; then the entry before it ends it.
            let from = if to == self.text.len() && !self.text.ends_with('\n') {
                self.text[..from].trim_end_matches(['\n', '\r']).len()
            } else {
                from
            };
            return Some(self.splice(from, to, ""));
        }
        // It shares its line with the dash of a list: what is next moves up to it.
        let next = next?;
        let between = self.text.get(end..next)?;
        let to = if between.trim().is_empty() { next } else { end };
        Some(self.splice(start, to, ""))
    }

    fn insert_key(&self, map: &Pointer, key: &str, value: &Value) -> Option<String> {
        let children = self.children(map);
        let (first, last) = (children.first()?, children.last()?);
        if self.spans.get(map)?.flow {
            let quoted = self.text[first.position.key.0..].starts_with('"');
            let name = render::flow_text(key, self.json || quoted);
            let entry = format!("{name}: {}", self.flow_value(value, last.position.key.0));
            return self.append_in_flow(&last.position, &entry);
        }
        let column = self.key_column(map, &first.position)?;
        let entry = render::entry(key, value, column, self.layout);
        self.insert_below(&last.position, &entry, column)
    }

    fn insert_item(&self, list: &Pointer, index: usize, value: &Value) -> Option<String> {
        let children = self.children(list);
        if children.len() != self.len_of(list)? {
            return None;
        }
        let flow = self.spans.get(list)?.flow;
        let Some(child) = children.get(index) else {
            let end = children.last()?.position;
            if flow {
                return self.append_in_flow(&end, &self.flow_value(value, end.value.0));
            }
            let column = column(self.text, self.dash_of(&list.index(children.len() - 1))?)?;
            let item = render::item(value, column, self.layout);
            return self.insert_below(&end, &item, column);
        };
        if flow {
            let start = child.position.value.0;
            let entry = self.flow_value(value, start);
            let blank = self.between_in_flow(start);
            return Some(self.splice(start, start, &format!("{entry},{blank}")));
        }
        let dash = self.dash_of(child.pointer)?;
        let column = column(self.text, dash)?;
        let item = render::item(value, column, self.layout);
        let line = self.line_start(dash);
        let newline = self.layout.newline;
        if self.text[line..dash].bytes().all(|byte| byte == b' ') {
            let at = self.with_comments_above(line, column);
            return Some(self.splice(at, at, &format!("{item}{newline}")));
        }
        let item = item.trim_start_matches(' ');
        Some(self.splice(dash, dash, &format!("{item}{newline}{}", " ".repeat(column))))
    }

    /// Puts whole lines that begin at `column` below a node and the comments inside it.
    fn insert_below(&self, node: &Position, lines: &str, column: usize) -> Option<String> {
        let at = self.with_all_comments_inside(self.line_below(self.end_of(node)), column);
        let newline = self.layout.newline;
        if self.text[..at].ends_with('\n') {
            return Some(self.splice(at, at, &format!("{lines}{newline}")));
        }
        let below = self.splice(at, at, &format!("{newline}{lines}"));
        if node.tail == Tail::Unended { self.strip_last_break(&below) } else { Some(below) }
    }

    /// Lets the block scalar that ended with the text go without a line break in `grown`, where lines follow it: `|-`.
    fn strip_last_break(&self, grown: &str) -> Option<String> {
        let unended = self.spans.iter().filter(|(_, position)| position.tail == Tail::Unended);
        let (pointer, position) =
            unended.max_by_key(|(pointer, position)| (position.value.0, pointer.as_str().len()))?;
        let mut at = self.head_end(pointer)?;
        loop {
            let rest = self.text.get(at..position.value.1)?;
            at += rest.len() - rest.trim_start().len();
            match self.text.as_bytes().get(at)? {
                b'|' | b'>' => break,
                b'&' | b'!' => at += self.text.get(at..)?.find([' ', '\t'])?,
                _ => return None,
            }
        }
        let header = self.rest_of_line(at).split([' ', '\t']).next()?;
        let stripped = format!("{}-", header.trim_end_matches(['+', '-']).replace(['+', '-'], ""));
        Some(format!("{}{stripped}{}", &grown[..at], &grown[at + header.len()..]))
    }
}

/// The anchor before a scalar, with the blank behind it, and the scalar itself. Its aliases need it.
pub(super) fn anchor_of(text: &str) -> (&str, &str) {
    match text.find([' ', '\t']) {
        Some(end) if text.starts_with('&') && !text[end..].trim_start().starts_with(['{', '[', '&', '!']) => {
            let value = text[end..].trim_start_matches([' ', '\t']);
            (&text[..text.len() - value.len()], value)
        }
        _ => ("", text),
    }
}
