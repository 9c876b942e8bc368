//! Agreement of the built-in detector with other scanners and with labels, policy by policy.
//!
//! The unit is a pair of a document (manifest, kind, name) and a canonical policy. Precision and recall take the other
//! side for the truth. Cohen's kappa (J. Cohen, "A coefficient of agreement for nominal scales", Educational and
//! Psychological Measurement 20, 1960) also needs the documents about which neither says anything: it is null unless the
//! evaluated documents are known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cli_support::output::{Align, Table};
use domain::policy::PolicyId;
use domain::policy::catalogue::is_beyond_paper;
use domain::scanner::Scanner;
use serde::Serialize;
use serde_json::{Value, json};

use crate::render::Figures;

/// Maximum length of a cause in characters.
const CAUSE: usize = 100;

/// A document.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Subject {
    pub(crate) manifest: String,
    /// Kind and name; empty for labels, which are of whole manifests.
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A finding: its document, the scanner's id, and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) subject: Subject,
    pub(crate) policy: String,
    pub(crate) message: String,
}

/// What another scanner, or a person, says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) findings: Vec<Finding>,
    /// Manifests that it evaluated; `None`: not known. What it did not evaluate is compared with nothing.
    pub(crate) evaluated: Option<BTreeSet<String>>,
    /// Whether a finding is of a whole manifest.
    pub(crate) whole: bool,
}

/// Findings by document and policy, with a message.
type Found = BTreeMap<(Subject, String), String>;

/// Counts of a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    both: u64,
    only_ours: u64,
    only_other: u64,
}

/// Scores of a policy; `None` where nothing is divided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Scores {
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    kappa: Option<f64>,
}

impl Tally {
    /// `documents`: all that were evaluated.
    fn scores(self, documents: Option<u64>) -> Scores {
        let (both, ours, other) = (self.both as f64, self.only_ours as f64, self.only_other as f64);
        let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
        let kappa = documents.and_then(|documents| {
            let n = documents as f64;
            let seen = (n - ours - other) / n;
            let (a, b) = ((both + ours) / n, (both + other) / n);
            let chance = a * b + (1.0 - a) * (1.0 - b);
            // Both say the same about everything: they agree, and chance explains it.
            if chance >= 1.0 { None } else { Some((seen - chance) / (1.0 - chance)) }
        });
        Scores {
            precision: share(both, both + ours),
            recall: share(both, both + other),
            f1: share(2.0 * both, 2.0 * both + ours + other),
            kappa: kappa.filter(|kappa| kappa.is_finite()),
        }
    }
}

/// Canonical id of a check of the scanner of that name; `None`: it is not in the catalogue. Where the name is not one of ours,
/// and for our own findings, whose records may be of any scanner, the ids of all scanners count.
fn canonical(scanner: &str, check: &str) -> Option<PolicyId> {
    let known = Scanner::parse(scanner);
    let mut scanners = Scanner::ALL.into_iter().filter(|one| known.is_none_or(|known| known == *one));
    scanners.find_map(|scanner| scanner.policy_of(check))
}

/// The policies that our findings can be of: those of the paper, or all where one is beyond them.
fn looked_for(ours: &[Finding]) -> &'static [PolicyId] {
    let found: Vec<PolicyId> = ours.iter().filter_map(|finding| canonical("", &finding.policy)).collect();
    if is_beyond_paper(&found) { PolicyId::ALL } else { PolicyId::PAPER }
}

/// Compares our findings with those of each other scanner. `top`: rows of the table of disagreements (0: all).
pub(crate) fn agreement(ours: &[Finding], others: &[Other], top: usize) -> Figures {
    let numbers = ["both", "only ours", "only theirs", "precision", "recall", "F1", "kappa"];
    let left = [("against", Align::Left), ("policy", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(numbers.map(|name| (name, Align::Right))));
    let mut causes_table = Table::new(
        ["against", "policy", "found by", "kind"].map(|name| (name, Align::Left)).into_iter().chain([
            ("pairs", Align::Right),
            ("cause", Align::Left),
            ("example", Align::Left),
        ]),
    );
    let entries: Vec<Value> =
        others.iter().map(|other| against(ours, other, top, &mut table, &mut causes_table)).collect();
    let figures = Figures::new(json!({"against": entries}))
        .with("Agreement of the built-in detector (pairs of document and policy)", table);
    if causes_table.is_empty() { figures } else { figures.with("Disagreements by cause", causes_table) }
}

fn against(ours: &[Finding], other: &Other, top: usize, table: &mut Table, causes: &mut Table) -> Value {
    let (theirs, unmapped) = mapped(&other.name, &other.findings, looked_for(ours));
    let mine = comparable(ours, other, &theirs);
    let documents = other.evaluated.as_ref().map(|all| {
        let named: BTreeSet<&Subject> =
            mine.keys().chain(theirs.keys()).map(|(subject, _)| subject).collect();
        (all.len() as u64).max(named.len() as u64)
    });
    let (tallies, groups) = tally(&mine, &theirs);
    let mut all = Tally::default();
    let mut policies = serde_json::Map::new();
    let mut kappas = vec![];
    for (policy, tally) in &tallies {
        all.both += tally.both;
        all.only_ours += tally.only_ours;
        all.only_other += tally.only_other;
        let scores = tally.scores(documents);
        kappas.extend(scores.kappa);
        table.push(row(&other.name, policy, *tally, scores));
        policies.insert(policy.clone(), entry(*tally, scores));
    }
    let macro_kappa = (!kappas.is_empty()).then(|| kappas.iter().sum::<f64>() / kappas.len() as f64);
    let scores = Scores { kappa: macro_kappa, ..all.scores(None) };
    table.push(row(&other.name, "all (kappa: mean)", all, scores));
    let shown = if top == 0 { groups.len() } else { top.min(groups.len()) };
    for group in groups.iter().take(shown) {
        causes.push([
            other.name.clone(),
            group.policy.clone(),
            group.found_by.replace("other", &other.name),
            group.kind.clone(),
            group.pairs.to_string(),
            group.cause.clone(),
            group.example.clone(),
        ]);
    }
    json!({
        "name": other.name, "documents": documents, "all": entry(all, scores), "policies": policies,
        "disagreements": groups, "unmapped": unmapped,
    })
}

/// Findings by canonical policy, and the number of those that map to none of `wanted`, by id.
fn mapped(scanner: &str, findings: &[Finding], wanted: &[PolicyId]) -> (Found, BTreeMap<String, u64>) {
    let (mut found, mut unmapped) = (Found::new(), BTreeMap::new());
    for finding in findings {
        match canonical(scanner, &finding.policy).filter(|policy| wanted.contains(policy)) {
            Some(policy) => {
                let policy = policy.as_str().to_owned();
                found.entry((finding.subject.clone(), policy)).or_insert_with(|| finding.message.clone());
            }
            None => *unmapped.entry(finding.policy.clone()).or_default() += 1,
        }
    }
    (found, unmapped)
}

/// Those of our findings that can be compared: about manifests that the other evaluated, of policies that it checks.
fn comparable(ours: &[Finding], other: &Other, theirs: &Found) -> Found {
    let checked: BTreeSet<&str> = theirs.keys().map(|(_, policy)| policy.as_str()).collect();
    let evaluated = other.evaluated.iter().flatten().map(String::as_str);
    let names = Names::of(theirs.keys().map(|(subject, _)| subject.manifest.as_str()).chain(evaluated));
    let mut mine = Found::new();
    for finding in ours {
        let policy = canonical("", &finding.policy).map(PolicyId::as_str);
        let Some(policy) = policy.filter(|policy| checked.contains(policy)) else { continue };
        let mut subject = finding.subject.clone();
        subject.manifest = names.find(&subject.manifest);
        if other.evaluated.as_ref().is_some_and(|all| !all.contains(&subject.manifest)) {
            continue;
        }
        if other.whole {
            subject = Subject { manifest: subject.manifest, ..Subject::default() };
        }
        mine.entry((subject, policy.to_owned())).or_insert_with(|| finding.message.clone());
    }
    mine
}

fn row(name: &str, policy: &str, tally: Tally, scores: Scores) -> Vec<String> {
    let counts = [tally.both, tally.only_ours, tally.only_other].map(|count| count.to_string());
    let of = |score: Option<f64>| score.map_or_else(|| "-".to_owned(), |score| format!("{score:.4}"));
    let scores = [scores.precision, scores.recall, scores.f1, scores.kappa].map(of);
    [name.to_owned(), policy.to_owned()].into_iter().chain(counts).chain(scores).collect()
}

fn entry(tally: Tally, scores: Scores) -> Value {
    json!({
        "both": tally.both, "only_ours": tally.only_ours, "only_other": tally.only_other,
        "precision": scores.precision, "recall": scores.recall, "f1": scores.f1, "kappa": scores.kappa,
    })
}

/// Disagreements with the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Group {
    policy: String,
    /// `ours` or `other`.
    found_by: &'static str,
    kind: String,
    /// The message without names and numbers.
    cause: String,
    pairs: u64,
    /// The manifest of the first.
    example: String,
}

fn tally(mine: &Found, theirs: &Found) -> (BTreeMap<String, Tally>, Vec<Group>) {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut groups: BTreeMap<(String, &'static str, String, String), Group> = BTreeMap::new();
    let mut differs = |(subject, policy): &(Subject, String), found_by: &'static str, message: &str| {
        let cause = cause(message);
        let key = (policy.clone(), found_by, subject.kind.clone(), cause.clone());
        let group = groups.entry(key).or_insert_with(|| Group {
            policy: policy.clone(),
            found_by,
            kind: subject.kind.clone(),
            cause,
            pairs: 0,
            example: subject.manifest.clone(),
        });
        group.pairs += 1;
    };
    for (pair, message) in mine {
        let tally = tallies.entry(pair.1.clone()).or_default();
        if theirs.contains_key(pair) {
            tally.both += 1;
        } else {
            tally.only_ours += 1;
            differs(pair, "ours", message);
        }
    }
    for (pair, message) in theirs.iter().filter(|(pair, _)| !mine.contains_key(pair)) {
        tallies.entry(pair.1.clone()).or_default().only_other += 1;
        differs(pair, "other", message);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.pairs));
    (tallies, groups)
}

/// A message without what stands in quotation marks, and without numbers.
fn cause(message: &str) -> String {
    let mut short = String::new();
    let mut quote = None;
    for c in message.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => {
                quote = None;
                short.push_str("…\"");
            }
            (Some(_), _) => {}
            (None, '"' | '`') => {
                quote = Some(c);
                short.push('"');
            }
            (None, c) if c.is_ascii_digit() => {
                if !short.ends_with('#') {
                    short.push('#');
                }
            }
            (None, c) => short.push(c),
        }
    }
    short.chars().take(CAUSE).collect()
}

/// Names of manifests, found whatever folder one of the sides names them from.
struct Names<'a> {
    /// Every end of each name; `None`: of several.
    ends: HashMap<&'a str, Option<&'a str>>,
}

impl<'a> Names<'a> {
    fn of(names: impl Iterator<Item = &'a str>) -> Self {
        let mut ends: HashMap<&str, Option<&str>> = HashMap::new();
        for name in names {
            let mut end = name;
            loop {
                let known = ends.entry(end).or_insert(Some(name));
                // A whole name goes before the end of another.
                if *known != Some(name) {
                    *known = if end == name { Some(name) } else { known.filter(|known| *known == end) };
                }
                match end.split_once('/') {
                    Some((_, rest)) if !rest.is_empty() => end = rest,
                    _ => break,
                }
            }
        }
        Self { ends }
    }

    /// Their name of a manifest of ours; ours if they do not have it.
    fn find(&self, ours: &str) -> String {
        let mut end = ours.trim_start_matches("./");
        loop {
            if let Some(Some(found)) = self.ends.get(end) {
                return (*found).to_owned();
            }
            match end.split_once('/') {
                // A bare file name says too little.
                Some((_, rest)) if rest.contains('/') => end = rest,
                _ => return ours.to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} {b}");
    }

    #[test]
    fn kappa_is_cohens() {
        // A textbook table of two readers over 50 proposals: 20 both yes, 5 and 10 one alone, 15 both no: kappa 0.4.
        close(Tally { both: 20, only_ours: 5, only_other: 10 }.scores(Some(50)).kappa, 0.4);
        let scores = Tally { both: 20, only_ours: 5, only_other: 10 }.scores(None);
        assert_eq!(scores.kappa, None);
        close(scores.precision, 0.8);
        close(scores.recall, 20.0 / 30.0);
        close(scores.f1, 40.0 / 55.0);
        let nothing = Tally::default().scores(Some(50));
        assert_eq!((nothing.precision, nothing.f1, nothing.kappa), (None, None, None));
    }

    fn finding(manifest: &str, policy: &str, message: &str) -> Finding {
        let subject =
            Subject { manifest: manifest.to_owned(), kind: "Pod".to_owned(), name: "web".to_owned() };
        Finding { subject, policy: policy.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn pairs_are_matched_by_canonical_policy_and_path() {
        let ours = [
            finding("./m/a.yaml", "latest-tag", ""),
            finding("m/b.yaml", "latest-tag", "tag of \"x\" is 12"),
            finding("m/c.yaml", "latest-tag", "not evaluated"),
            finding("m/a.yaml", "host-pid", "no check of theirs"),
        ];
        let other = Other {
            name: "tool".to_owned(),
            findings: vec![
                finding("corpus/m/a.yaml", "disallow-latest-tag", ""),
                finding("corpus/m/d.yaml", "no_latest_tag", "tag of \"y\""),
                finding("corpus/m/d.yaml", "sorted-keys", ""),
            ],
            evaluated: Some(["a", "b", "d", "e"].map(|name| format!("corpus/m/{name}.yaml")).into()),
            whole: false,
        };
        let value = agreement(&ours, &[other], 0).value;
        let against = &value["against"][0];
        let all = &against["all"];
        assert_eq!((&all["both"], &all["only_ours"], &all["only_other"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!((&against["documents"], &against["unmapped"]), (&json!(4), &json!({"sorted-keys": 1})));
        let groups = against["disagreements"].as_array().unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[1]["cause"], "tag of \"…\" is #");
        assert_eq!(
            (&groups[1]["found_by"], &groups[1]["example"]),
            (&json!("ours"), &json!("corpus/m/b.yaml"))
        );
    }
}
