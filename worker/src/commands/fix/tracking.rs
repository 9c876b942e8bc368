//! Which repair changes which lines of a document, when repairs are made one after the other.
//!
//! Every line of the text is followed through the repairs. What stands between two lines that stay is one edit; repairs that
//! have an edit in common, or of which one changes a line of the other, are one change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use similar::{DiffOp, TextDiff};

use crate::findings::change::{Change, Edit};

/// Longest time to look for the smallest difference of one repair; a larger one is taken then.
const LONGEST: Duration = Duration::from_secs(1);

/// A line of the text as it stands after some repairs.
#[derive(Debug, Clone)]
enum TextLine {
    /// One of the old text, by its number.
    Old(usize),
    /// One that a repair brought.
    New(usize),
}

/// The lines of a document through its repairs.
#[derive(Debug)]
pub(super) struct Tracking {
    lines: Vec<TextLine>,
    /// Which repair took each line of the old text that is gone.
    gone: BTreeMap<usize, usize>,
    groups: Groups,
    text: String,
    repairs: BTreeSet<usize>,
}

impl Tracking {
    /// Begins with the old text.
    pub(super) fn new(old: &str) -> Self {
        let lines = (0..old.split_inclusive('\n').count()).map(TextLine::Old).collect();
        let (gone, repairs) = (BTreeMap::new(), BTreeSet::new());
        Self { lines, gone, groups: Groups::default(), text: old.to_owned(), repairs }
    }

    /// Takes what the repair with this number makes of the text.
    pub(super) fn step(&mut self, before: &str, after: &str, repair: usize) {
        self.repairs.insert(repair);
        let diff = TextDiff::configure().timeout(LONGEST).diff_slices(&lines_of(before), &lines_of(after));
        let mut lines = Vec::with_capacity(self.lines.len() + 8);
        for op in diff.ops() {
            let old = self.lines.get(op.old_range()).unwrap_or_default();
            if let DiffOp::Equal { .. } = op {
                lines.extend(old.iter().cloned());
                continue;
            }
            for line in old {
                match line {
                    TextLine::Old(number) => drop(self.gone.insert(*number, repair)),
                    TextLine::New(other) => self.groups.join(*other, repair),
                }
            }
            lines.extend(op.new_range().map(|_| TextLine::New(repair)));
        }
        self.lines = lines;
        after.clone_into(&mut self.text);
    }

    /// The changes that lead from the old text, which begins at `offset` of its file, to the last one and `behind` it.
    pub(super) fn changes(mut self, old: &str, offset: usize, behind: &str) -> Vec<Change> {
        let mut edits = self.edits(old, offset);
        let end = offset + old.len();
        if !behind.is_empty() {
            let last = edits.last_mut().filter(|(edit, _)| edit.old.end == end);
            match (last, self.repairs.last()) {
                (Some((edit, _)), _) => edit.new.push_str(behind),
                (None, Some(repair)) => edits.push((Edit { old: end..end, new: behind.to_owned() }, *repair)),
                (None, None) => {}
            }
        }
        let mut changes: BTreeMap<usize, Change> = BTreeMap::new();
        let empty = || Change { repairs: Vec::new(), edits: Vec::new() };
        for repair in &self.repairs {
            changes.entry(self.groups.of(*repair)).or_insert_with(empty).repairs.push(*repair);
        }
        for (edit, repair) in edits {
            changes.entry(self.groups.of(repair)).or_insert_with(empty).edits.push(edit);
        }
        changes.into_values().collect()
    }

    /// What stands between lines that stay, each with a repair of those that it belongs to.
    fn edits(&mut self, old: &str, offset: usize) -> Vec<(Edit, usize)> {
        let begins: Vec<usize> = std::iter::once(0)
            .chain(old.split_inclusive('\n').scan(0, |at, line| {
                *at += line.len();
                Some(*at)
            }))
            .collect();
        let begin = |line: usize| offset + begins.get(line).copied().unwrap_or(old.len());
        let count = begins.len() - 1;
        let mut edits = Vec::new();
        let mut from = 0;
        let mut new = String::new();
        let mut owners: Vec<usize> = Vec::new();
        let texts: Vec<String> = lines_of(&self.text).into_iter().map(str::to_owned).collect();
        let last = [TextLine::Old(count)];
        let lines = std::mem::take(&mut self.lines);
        for (line, text) in lines.iter().zip(&texts).chain(last.iter().zip([&String::new()])) {
            match line {
                TextLine::New(repair) => {
                    new.push_str(text);
                    owners.push(*repair);
                }
                TextLine::Old(number) => {
                    owners.extend(self.gone.range(from..*number).map(|(_, repair)| *repair));
                    if let Some(first) = owners.first().copied() {
                        for owner in &owners {
                            self.groups.join(first, *owner);
                        }
                        edits.push((
                            Edit { old: begin(from)..begin(*number), new: std::mem::take(&mut new) },
                            first,
                        ));
                    }
                    owners.clear();
                    from = number + 1;
                }
            }
        }
        edits
    }
}

/// The lines of a text with their breaks.
pub(super) fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Repairs that belong together: each points to another one of its group, or to itself.
#[derive(Debug, Default)]
struct Groups(BTreeMap<usize, usize>);

impl Groups {
    fn of(&self, repair: usize) -> usize {
        let mut at = repair;
        while let Some(next) = self.0.get(&at).filter(|next| **next != at) {
            at = *next;
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        // The smaller number stands for the group.
        self.0.insert(one.max(other), one.min(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(texts: &[&str]) -> Vec<Change> {
        let mut tracking = Tracking::new(texts[0]);
        for (number, pair) in texts.windows(2).enumerate() {
            tracking.step(pair[0], pair[1], number);
        }
        let changes = tracking.changes(texts[0], 0, "");
        // All of them together make the last text.
        let mut edits: Vec<Edit> = changes.iter().flat_map(|change| change.edits.clone()).collect();
        edits.sort_by_key(|edit| edit.old.start);
        let mut text = texts[0].to_owned();
        for edit in edits.iter().rev() {
            text.replace_range(edit.old.clone(), &edit.new);
        }
        assert_eq!(&text, texts.last().unwrap());
        changes
    }

    #[test]
    fn repairs_of_different_lines_are_changes_of_their_own() {
        let changes = made(&["a\nb\nc\nd\n", "A\nb\nc\nd\n", "A\nb\nc\nD\nE\n"]);
        let repairs: Vec<_> = changes.iter().map(|change| change.repairs.clone()).collect();
        assert_eq!(repairs, [vec![0], vec![1]]);
        assert_eq!(changes[1].edits, [Edit { old: 6..8, new: "D\nE\n".to_owned() }]);
    }

    #[test]
    fn repairs_that_meet_are_one_change() {
        // The second changes a line of the first; the third stands next to it; the fourth elsewhere too.
        let changes = made(&[
            "a\nb\nc\nd\n",
            "a\nx\nb\nc\nd\n",
            "a\ny\nb\nc\nd\n",
            "a\ny\nz\nb\nc\nd\n",
            "a\ny\nz\nw\nb\nc\n",
        ]);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].repairs, [0, 1, 2, 3]);
        assert_eq!(changes[0].edits.len(), 2);
    }

    #[test]
    fn a_text_without_a_line_break_at_its_end() {
        assert_eq!(made(&["a\nb", "a\nb\nc"]).len(), 1);
        assert_eq!(made(&["a", "b", "a"])[0].edits[0].new, "a");
    }
}
