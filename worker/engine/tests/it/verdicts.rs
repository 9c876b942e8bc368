//! The schema gate against what a real API server (v1.37.2) said of some 30,000 documents, and of valid ones in which one
//! field was changed.
#![expect(clippy::disallowed_types, reason = "tests read the reference corpus")]
#![expect(clippy::print_stderr, reason = "the tables are for people")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use domain::config::Limits;
use domain::testing::corpus;
use engine::document::Document;
use engine::schema::{Report, SchemaErrorKind, Structural};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// One verdict of the server.
#[derive(Debug, Deserialize)]
struct Verdict {
    sha256: String,
    class: String,
    kind: Option<String>,
    #[serde(default)]
    mutation: String,
    #[serde(default)]
    builtin_group: bool,
    #[serde(default)]
    template: bool,
    #[serde(default)]
    causes: Vec<(String, String, String)>,
    text: Option<String>,
}

impl Verdict {
    /// Whether every cluster refuses the document; `None` where it depends on the cluster.
    fn is_refused(&self) -> Option<bool> {
        match self.class.as_str() {
            "accepted" | "conflict" => Some(false),
            "environment" => None,
            "unknown_kind" => self.builtin_group.then_some(true),
            _ => Some(true),
        }
    }
}

fn lines(path: &Path) -> impl Iterator<Item = String> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    BufReader::new(GzDecoder::new(file)).lines().map(|line| line.expect("a line"))
}

fn verdicts(folder: &Path, name: &str) -> Vec<Verdict> {
    let parse = |line: String| serde_json::from_str(&line).expect("a verdict");
    lines(&folder.join(format!("{name}.jsonl.gz"))).map(parse).collect()
}

fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"))
}

/// Every text that the corpus holds, by its hash.
fn texts(corpus: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let manifests = File::open(corpus.join("manifests.tar.gz")).expect("the manifests");
    for entry in tar::Archive::new(GzDecoder::new(manifests)).entries().expect("an archive") {
        let mut text = Vec::new();
        entry.expect("an entry").read_to_end(&mut text).expect("a file");
        texts.insert(hash(&text), String::from_utf8_lossy(&text).into_owned());
    }
    for set in ["rules_full", "supported", "grok_5k_dev"] {
        for (file, key) in [("detections", "manifest_yaml"), ("verified", "patched_yaml")] {
            let path = corpus.join(set).join(format!("{file}.json.gz"));
            let Ok(file) = File::open(&path) else { continue };
            let records: Vec<BTreeMap<String, Value>> =
                serde_json::from_reader(BufReader::new(GzDecoder::new(file))).expect("records");
            for record in records {
                if let Some(Value::String(text)) = record.get(key) {
                    texts.insert(hash(text.as_bytes()), text.clone());
                }
            }
        }
    }
    for name in ["ours_documents", "refused_documents"] {
        for line in lines(&corpus.join("server_verdicts").join(format!("{name}.jsonl.gz"))) {
            let mut row: BTreeMap<String, Value> = serde_json::from_str(&line).expect("a document");
            if let (Some(Value::String(hash)), Some(Value::String(text))) =
                (row.remove("sha256"), row.remove("text"))
            {
                texts.insert(hash, text);
            }
        }
    }
    texts
}

/// What the gate says: the fields that it names, none if it accepts.
fn judge(text: &str) -> Option<Vec<(String, String)>> {
    let Ok(document) = Document::parse(text, &Limits::default()) else {
        return Some(vec![(String::new(), "unreadable".to_owned())]);
    };
    match Structural::newest().validate(&document.value, &document.duplicate_keys) {
        Report::Valid | Report::UnknownKind { .. } => None,
        Report::Invalid(errors) => Some(
            errors
                .iter()
                .map(|error| {
                    let field = match &error.kind {
                        SchemaErrorKind::Rule { field, .. } => field.clone(),
                        _ => String::new(),
                    };
                    (field, error.to_string())
                })
                .collect(),
        ),
    }
}

/// Documents that the gate judges otherwise on purpose: the hash of the text, and why. None is known.
const DIVERGENCES: &[(&str, &str)] = &[];

/// How often both said the same.
#[derive(Debug, Default)]
struct Agreement {
    judged: usize,
    false_accepts: BTreeMap<String, usize>,
    false_refusals: BTreeMap<String, usize>,
    /// Of those that both refuse by validation: all, and those whose fields are the same.
    both_refuse: usize,
    same_fields: usize,
    other_fields: Vec<String>,
}

impl Agreement {
    fn add(&mut self, verdict: &Verdict, text: &str, group: &str) {
        let Some(is_refused) = verdict.is_refused().filter(|_| !verdict.template) else { return };
        if let Some((_, reason)) = DIVERGENCES.iter().find(|(hash, _)| *hash == verdict.sha256) {
            assert_ne!(is_refused, judge(text).is_some(), "no longer a divergence: {reason}");
            return;
        }
        self.judged += 1;
        let kind = verdict.kind.as_deref().unwrap_or_default();
        match (is_refused, judge(text)) {
            (true, None) => {
                let cause = verdict.causes.first().map(|(field, _, text)| format!("{field}: {text:.120}"));
                let name = format!("{group} {} {kind} {}", verdict.class, cause.unwrap_or_default());
                *self.false_accepts.entry(name).or_default() += 1;
            }
            (false, Some(errors)) => {
                let name = format!("{group} {kind} {}", errors[0].1);
                *self.false_refusals.entry(name).or_default() += 1;
            }
            (true, Some(errors)) if verdict.class == "invalid" && !verdict.causes.is_empty() => {
                let theirs: BTreeSet<&str> =
                    verdict.causes.iter().map(|(field, _, _)| field.as_str()).collect();
                let ours: BTreeSet<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
                self.both_refuse += 1;
                if theirs == ours {
                    self.same_fields += 1;
                } else {
                    self.other_fields.push(format!("{group} {kind}: {theirs:?} and {ours:?}"));
                }
            }
            _ => {}
        }
    }

    fn disagreements(&self) -> usize {
        self.false_accepts.values().sum::<usize>() + self.false_refusals.values().sum::<usize>()
    }

    /// Of 100.
    fn percent(&self) -> f64 {
        100.0 * (1.0 - self.disagreements() as f64 / self.judged as f64)
    }

    fn print(&self, name: &str) {
        eprintln!(
            "{name}: {} documents, agreement {:.3} %, {} refused by both, of these {} with the same fields",
            self.judged,
            self.percent(),
            self.both_refuse,
            self.same_fields
        );
        for (what, count) in &self.false_accepts {
            eprintln!("  false accept  {count:5} {what}");
        }
        for (what, count) in &self.false_refusals {
            eprintln!("  false refusal {count:5} {what}");
        }
        for other in self.other_fields.iter().take(20) {
            eprintln!("  other fields: {other:.300}");
        }
    }
}

fn folder() -> Option<PathBuf> {
    corpus("server_verdicts")
}

#[test]
fn recorded_documents_are_judged_as_a_server_judged_them() {
    let Some(folder) = folder() else { return };
    let texts = texts(folder.parent().expect("the corpus"));
    let mut all = Agreement::default();
    let mut manifests = Agreement::default();
    let mut seen = BTreeSet::new();
    let mut without_text = 0;
    for set in ["manifests", "rules_full", "supported", "grok_5k_dev"] {
        for verdict in verdicts(&folder, set) {
            if !seen.insert(verdict.sha256.clone()) {
                continue;
            }
            let Some(text) = texts.get(&verdict.sha256) else {
                without_text += 1;
                continue;
            };
            all.add(&verdict, text, set);
            if set == "manifests" {
                manifests.add(&verdict, text, set);
            }
        }
    }
    manifests.print("manifests");
    all.print("all sets");
    eprintln!("{without_text} verdicts are of documents that only a run makes");
    assert!(manifests.judged > 5_700 && all.judged > 29_000, "{} {}", manifests.judged, all.judged);
    for agreement in [&manifests, &all] {
        assert!(agreement.percent() >= 99.9, "{agreement:?}");
        assert_eq!(agreement.false_refusals.len(), 0, "{:?}", agreement.false_refusals);
    }
    let most = all.false_accepts.values().max().copied().unwrap_or_default();
    assert!(most as f64 <= all.judged as f64 * 0.000_2, "{:?}", all.false_accepts);
}

#[test]
fn mutants_are_judged_as_a_server_judged_them() {
    let Some(folder) = folder() else { return };
    let mut all = Agreement::default();
    let mut families: BTreeMap<String, Agreement> = BTreeMap::new();
    for verdict in verdicts(&folder, "mutants_a") {
        let text = verdict.text.clone().expect("a mutant has its text");
        let family = verdict.mutation.split('/').next().unwrap_or_default().to_owned();
        families.entry(family).or_default().add(&verdict, &text, &verdict.mutation);
        all.add(&verdict, &text, &verdict.mutation);
    }
    for (family, agreement) in &families {
        eprintln!(
            "{family:18} {:4} judged, {:7.2} %, {:2} accepted and {:2} refused wrongly",
            agreement.judged,
            agreement.percent(),
            agreement.false_accepts.values().sum::<usize>(),
            agreement.false_refusals.values().sum::<usize>()
        );
    }
    all.print("mutants");
    assert!(all.judged > 4_000, "{}", all.judged);
    assert!(all.percent() >= 98.0, "{}", all.percent());
    let refusals: usize = all.false_refusals.values().sum();
    assert!(refusals as f64 <= all.judged as f64 * 0.001, "{:?}", all.false_refusals);
    assert!(all.same_fields as f64 >= all.both_refuse as f64 * 0.99, "{:?}", all.other_fields);
}
