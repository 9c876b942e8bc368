//! Repairs rewritten into the text of real manifests.

use std::ops::RangeInclusive;

use corpus::read::Files;
use domain::config::{Limits, RulesConfig};
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::policy::PolicyName;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::policies;
use engine::propose::{Decision, rules};
use engine::rewrite::{Style, rewrite};
use engine::yaml::{self, Spans};
use similar::{DiffOp, TextDiff};

/// One of so many files is tested: enough to find a defect, few enough to be quick. `MANIFESTS_ONE_IN=1` takes them all.
const ONE_IN: usize = 6;

#[test]
fn repairs_keep_the_users_text() {
    let Some(archive) = domain::testing::corpus("manifests.tar.gz") else { return };
    let one_in = std::env::var("MANIFESTS_ONE_IN").ok().and_then(|text| text.parse().ok()).unwrap_or(ONE_IN);
    let limits = Limits::default();
    let (mut files, mut kept, mut all) = (0_u32, 0_u32, 0_u32);
    let (mut rewritten_anew, mut unexplained) = (Vec::new(), Vec::new());
    for file in Files::open(archive.to_str().unwrap(), &limits).unwrap().step_by(one_in) {
        let Ok(text) = file.content else { continue };
        files += 1;
        for piece in yaml::split(&text) {
            let Ok(document) = Document::parse(piece.text, &limits) else { continue };
            if document.identity.kind.ends_with("List") {
                continue;
            }
            let view = View::new(&document, &Neighbours::Unknown);
            for policy in policies::all() {
                let name = PolicyName::Known(policy.id());
                let Decision::Repair(proposal) = rules::propose(&view, &name, &RulesConfig::default()) else {
                    continue;
                };
                all += 1;
                let rewritten = rewrite(piece.text, &proposal.patch, &limits).unwrap();
                if rewritten.style == Style::Reserialised {
                    rewritten_anew.push(format!("{} {}", file.path, policy.id()));
                    continue;
                }
                kept += 1;
                let lines = unexplained_lines(piece.text, &rewritten.text, &proposal.patch, &limits);
                unexplained.extend(lines.iter().map(|line| format!("{} {}: {line}", file.path, policy.id())));
            }
        }
    }
    println!("{kept} of {all} repairs in {files} files kept the text; the others: {rewritten_anew:#?}");
    assert!(unexplained.is_empty(), "changed without an operation that says so: {unexplained:#?}");
    assert!(all > 1_000 && kept * 1_000 >= all * 999, "kept {kept} of {all}; not: {rewritten_anew:#?}");
}

/// The changed lines of a text that lie in no node that an operation of the patch touches.
fn unexplained_lines(old: &str, new: &str, patch: &Patch, limits: &Limits) -> Vec<String> {
    let explained = |text: &str, pointers: &[Pointer]| {
        let spans = yaml::load_with_spans(text, limits).unwrap().spans;
        pointers.iter().filter_map(|pointer| lines_of(text, &spans, pointer)).collect::<Vec<_>>()
    };
    let (removed, added) = touched(patch, old, new, limits);
    let (in_old, in_new) = (explained(old, &removed), explained(new, &added));
    let diff = TextDiff::from_lines(old, new);
    let changed: Vec<DiffOp> =
        diff.ops().iter().copied().filter(|op| !matches!(op, DiffOp::Equal { .. })).collect();
    let gone: Vec<usize> = changed.iter().flat_map(DiffOp::old_range).collect();
    let come: Vec<usize> = changed.iter().flat_map(DiffOp::new_range).collect();
    let old_line = |line: usize| diff.old_slice(line).unwrap_or_default();
    let new_line = |line: usize| diff.new_slice(line).unwrap_or_default();
    // It may have moved up to the dash of a removed entry, or have got a line break.
    let bare = |line: &str| line.trim_start_matches([' ', '-']).trim_end().to_owned();
    let (bare_gone, bare_come): (Vec<String>, Vec<String>) = (
        gone.iter().map(|line| bare(old_line(*line))).collect(),
        come.iter().map(|line| bare(new_line(*line))).collect(),
    );
    let within =
        |ranges: &[RangeInclusive<usize>], line: usize| ranges.iter().any(|range| range.contains(&line));
    // Of equal lines a diff may show another one as removed; a comment goes with what it speaks of.
    let removed_too = |line: usize| {
        in_old.iter().flat_map(Clone::clone).any(|other| old_line(other) == old_line(line))
            || old_line(line).trim_start().starts_with('#')
                && gone.iter().any(|other| within(&in_old, *other))
    };
    let minus = gone
        .iter()
        .filter(|line| {
            !(within(&in_old, **line) || removed_too(**line) || bare_come.contains(&bare(old_line(**line))))
        })
        .map(|line| format!("-{}", old_line(*line)));
    let plus = come
        .iter()
        .filter(|line| !(within(&in_new, **line) || bare_gone.contains(&bare(new_line(**line)))))
        .map(|line| format!("+{}", new_line(*line)));
    minus.chain(plus).chain(lost_comments(old, new, patch)).collect()
}

/// The comments behind values that are gone though the patch removes nothing.
fn lost_comments(old: &str, new: &str, patch: &Patch) -> Vec<String> {
    if patch.0.iter().any(|op| matches!(op, Op::Remove { .. } | Op::Move { .. })) {
        return Vec::new();
    }
    let comments = old.lines().filter_map(|line| line.split_once(" #")).map(|(_, comment)| comment);
    comments.filter(|comment| !new.contains(comment)).map(|comment| format!("-#{comment}")).collect()
}

/// The nodes that a patch takes from the old text, and those that it brings into the new one.
fn touched(patch: &Patch, old: &str, new: &str, limits: &Limits) -> (Vec<Pointer>, Vec<Pointer>) {
    let (before, after) = (yaml::load(old, limits).unwrap().value, yaml::load(new, limits).unwrap().value);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for op in &patch.0 {
        if let Op::Move { from, .. } = op {
            removed.push(from.clone());
        }
        let place = last_index(op.path(), &after);
        // A collection that was empty, or becomes so, is written in another form.
        let parent = place.split_last().map(|(parent, _)| parent);
        let empty = |value: Option<&serde_json::Value>| {
            value.is_none_or(|value| {
                value.is_null()
                    || value.as_object().is_some_and(serde_json::Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty)
            })
        };
        if let Some(parent) =
            parent.filter(|parent| empty(parent.resolve(&before)) || empty(parent.resolve(&after)))
        {
            removed.push(parent.clone());
            added.push(parent);
        }
        // Entries of a list have other indices after each removal and insertion.
        for neighbour in entries_around(&place, patch.len()) {
            removed.push(neighbour.clone());
            added.push(neighbour);
        }
    }
    (removed, added)
}

/// The entry of a list with the entries `within` so many places of it; another node alone.
fn entries_around(path: &Pointer, within: usize) -> Vec<Pointer> {
    match path.split_last().map(|(list, key)| (list, key.parse::<usize>())) {
        Some((list, Ok(index))) if within > 1 => {
            (index.saturating_sub(within)..=index + within).map(|at| list.index(at)).collect()
        }
        _ => vec![path.clone()],
    }
}

/// `/list/-` as the index of the last entry.
fn last_index(path: &Pointer, document: &serde_json::Value) -> Pointer {
    match path.split_last() {
        Some((list, key)) if key == "-" => {
            let length = list.resolve(document).and_then(|list| list.as_array()).map_or(1, Vec::len);
            list.index(length.saturating_sub(1))
        }
        _ => path.clone(),
    }
}

/// The lines of a node with its key, counted from 0.
fn lines_of(text: &str, spans: &Spans, pointer: &Pointer) -> Option<RangeInclusive<usize>> {
    let position = spans.get(pointer)?;
    let line = |at: usize| text[..at].matches('\n').count();
    let end = text[..position.value.1].trim_end().len().max(position.key.1);
    Some(line(position.key.0.min(position.value.0))..=line(end))
}
