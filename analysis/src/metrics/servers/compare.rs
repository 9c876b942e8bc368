//! One corpus judged by several servers: what each accepts, and what breaks from release to release.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cli_support::output::{Align, Table};
use serde::Serialize;
use serde_json::{Value, json};

use super::answers::{Answer, Asked, Judged, number};
use crate::render::{Figures, interval, percent};
use crate::stats::Proportion;

/// Which answers of a row: name, and the answer.
type State = (&'static str, fn(&Asked) -> Option<&Answer>);

const STATES: [State; 2] =
    [("before repair", |asked| asked.before.as_ref()), ("after repair", |asked| asked.after.as_ref())];

/// What a refusal has in common with others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Cause {
    kind: String,
    class: String,
    /// With `[*]` for every index and key.
    field: String,
    reason: String,
}

/// Records with the same cause, and the first of them.
#[derive(Debug, Clone, Serialize)]
struct Group {
    #[serde(flatten)]
    cause: Cause,
    records: u64,
    documents: usize,
    example: String,
    message: String,
}

/// Compares what servers answered, in the order of their versions. Each entry has its name.
pub(crate) fn cross_version(mut runs: Vec<(String, Judged)>) -> Figures {
    runs.sort_by_key(|(name, judged)| {
        (judged.versions().last().map(|version| number(version)).unwrap_or_default(), name.clone())
    });
    let (servers, server_table) = servers(&runs);
    let names = ["from", "to", "documents"].map(|name| (name, Align::Left));
    let columns = ["records of both", "newly refused", "newly accepted"].map(|name| (name, Align::Right));
    let mut steps_table = Table::new(names.into_iter().chain(columns));
    let header =
        ["from", "to", "documents", "kind", "class", "field", "reason"].map(|name| (name, Align::Left));
    let mut breaks_table = Table::new(header.into_iter().chain([
        ("records", Align::Right),
        ("example", Align::Left),
        ("message", Align::Left),
    ]));
    let mut steps = vec![];
    for pair in runs.windows(2) {
        let [(from, first), (to, second)] = pair else { continue };
        for (state, answer) in STATES {
            let step = step(first, second, answer);
            let counts = [step.both, step.refused, step.accepted].map(|count| count.to_string());
            steps_table.push([from.clone(), to.clone(), state.to_owned()].into_iter().chain(counts));
            for group in &step.breaks {
                let Cause { kind, class, field, reason } = group.cause.clone();
                let words = [from.clone(), to.clone(), state.to_owned(), kind, class, field, reason];
                let more = [group.records.to_string(), group.example.clone(), group.message.clone()];
                breaks_table.push(words.into_iter().chain(more));
            }
            steps.push(json!({
                "from": from, "to": to, "documents": state, "records": step.both, "newly_refused": step.refused,
                "newly_accepted": step.accepted, "breaks": step.breaks, "mends": step.mends,
            }));
        }
    }
    let figures = Figures::new(json!({"servers": servers, "steps": steps})).with(
        "What each server accepts (distinct documents before, records after their repair)",
        server_table,
    );
    let figures =
        if steps_table.is_empty() { figures } else { figures.with("From release to release", steps_table) };
    if breaks_table.is_empty() { figures } else { figures.with("What breaks, by cause", breaks_table) }
}

fn servers(runs: &[(String, Judged)]) -> (Vec<Value>, Table) {
    let columns = [
        "documents",
        "accepted",
        "share",
        "95 % interval",
        "repairs of valid ones",
        "accepted",
        "share",
        "95 % interval",
    ];
    let left = [("server", Align::Left), ("version", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns.map(|name| (name, Align::Right))));
    let mut entries = vec![];
    for (name, judged) in runs {
        let mut documents: BTreeMap<&str, bool> = BTreeMap::new();
        let (mut repairs, mut accepted) = (0, 0);
        let mut classes: [BTreeMap<&str, u64>; 2] = [BTreeMap::new(), BTreeMap::new()];
        for asked in &judged.asked {
            if let Some(before) = &asked.before {
                documents.insert(&asked.document, before.accepts());
            }
            if let Some(after) =
                asked.after.as_ref().filter(|_| asked.before.as_ref().is_some_and(Answer::accepts))
            {
                repairs += 1;
                accepted += u64::from(after.accepts());
            }
            for (classes, (_, answer)) in classes.iter_mut().zip(STATES) {
                if let Some(answer) = answer(asked) {
                    *classes.entry(&answer.class).or_default() += 1;
                }
            }
        }
        let valid = documents.values().filter(|valid| **valid).count() as u64;
        let shares = [Proportion::new(valid, documents.len() as u64), Proportion::new(accepted, repairs)];
        let version = judged.versions().join(", ");
        let cells = shares.iter().flat_map(|share| {
            [share.of.to_string(), share.count.to_string(), percent(share.rate), interval(share)]
        });
        table.push([name.clone(), version.clone()].into_iter().chain(cells));
        let [before, after] = classes;
        let [documents, repairs] = shares;
        entries.push(json!({
            "name": name, "version": version, "records": judged.records,
            "not_asked": judged.records - judged.asked.len() as u64,
            "documents_accepted": documents, "repairs_of_valid_accepted": repairs,
            "records_by_class": {"before": before, "after": after},
        }));
    }
    (entries, table)
}

/// What changed between two servers.
#[derive(Default)]
struct Step {
    /// Records that both were asked about.
    both: u64,
    refused: u64,
    accepted: u64,
    /// The new refusals by cause, most records first.
    breaks: Vec<Group>,
    /// What the first refused and the second takes, by the first's cause.
    mends: Vec<Group>,
}

fn step(first: &Judged, second: &Judged, answer: fn(&Asked) -> Option<&Answer>) -> Step {
    let key = |asked: &Asked| (asked.record.clone(), asked.policy.clone(), asked.document.clone());
    let known: HashMap<_, &Asked> = first.asked.iter().map(|asked| (key(asked), asked)).collect();
    let mut step = Step::default();
    let (mut breaks, mut mends) = (Groups::default(), Groups::default());
    for now in &second.asked {
        let Some((was, is)) = known.get(&key(now)).and_then(|was| answer(was)).zip(answer(now)) else {
            continue;
        };
        step.both += 1;
        match (was.accepts(), is.accepts()) {
            (true, false) => {
                step.refused += 1;
                breaks.add(now, is);
            }
            (false, true) => {
                step.accepted += 1;
                mends.add(now, was);
            }
            _ => {}
        }
    }
    Step { breaks: breaks.sorted(), mends: mends.sorted(), ..step }
}

#[derive(Default)]
struct Groups(BTreeMap<Cause, (Group, BTreeSet<String>)>);

impl Groups {
    fn add(&mut self, asked: &Asked, answer: &Answer) {
        let [field, reason, message] = answer.causes.first().cloned().unwrap_or_default();
        let cause = Cause {
            kind: asked.kind.clone(),
            class: answer.class.clone(),
            field: without_indices(&field),
            reason,
        };
        let (group, documents) = self.0.entry(cause.clone()).or_insert_with(|| {
            let example = asked.record.clone();
            (Group { cause, records: 0, documents: 0, example, message }, BTreeSet::new())
        });
        group.records += 1;
        documents.insert(asked.document.clone());
    }

    fn sorted(self) -> Vec<Group> {
        let with_documents =
            |(group, documents): (Group, BTreeSet<String>)| Group { documents: documents.len(), ..group };
        let mut groups: Vec<Group> = self.0.into_values().map(with_documents).collect();
        // The sort is stable: equal groups stay in the order of their causes.
        groups.sort_by_key(|group| std::cmp::Reverse(group.records));
        groups
    }
}

/// A field path with `[*]` for each index and key.
fn without_indices(field: &str) -> String {
    let mut short = String::with_capacity(field.len());
    let mut inside = false;
    for c in field.chars() {
        match c {
            '[' => {
                inside = true;
                short.push_str("[*]");
            }
            ']' => inside = false,
            c if !inside => short.push(c),
            _ => {}
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_by_their_numbers() {
        let mut versions = ["v1.37.2", "v1.9.1", "v1.36.10", "v1.36.9"];
        versions.sort_by_key(|version| number(version));
        assert_eq!(versions, ["v1.9.1", "v1.36.9", "v1.36.10", "v1.37.2"]);
    }

    #[test]
    fn a_field_is_named_without_its_places() {
        assert_eq!(without_indices("spec.containers[12].env[PATH].value"), "spec.containers[*].env[*].value");
        assert_eq!(without_indices("spec.x"), "spec.x");
        assert_eq!(without_indices("a[b"), "a[*]");
    }
}
