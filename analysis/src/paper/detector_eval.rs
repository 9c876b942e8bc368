//! Precision and recall of detections against labels.

use std::collections::{BTreeMap, BTreeSet};

use cli_support::output::{Align, Table};
use domain::policy::PolicyName;
use serde_json::{Map, Value, json};

use crate::load::files::text;
use crate::render::Figures;
use crate::stats::{Proportion, round};

/// Counts of findings against labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    tp: u64,
    fp: u64,
    /// False negatives: `fn` in the JSON, which is a keyword here.
    missed: u64,
}

impl Tally {
    /// Precision, recall and F1, rounded to three digits.
    fn scores(self) -> (f64, f64, f64) {
        let share = |of: u64| if of == 0 { 0.0 } else { self.tp as f64 / of as f64 };
        let (p, r) = (share(self.tp + self.fp), share(self.tp + self.missed));
        (round(p, 3), round(r, 3), round(if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 }, 3))
    }

    /// As JSON; the support is the number of labels.
    fn object(self, with_support: bool) -> Value {
        let (precision, recall, f1) = self.scores();
        let mut object = json!({
            "precision": precision, "recall": recall, "f1": f1, "tp": self.tp, "fp": self.fp, "fn": self.missed,
        });
        if let (true, Value::Object(object)) = (with_support, &mut object) {
            object.insert("support".to_owned(), json!(self.tp + self.missed));
        }
        object
    }
}

/// Scores the detections of labelled manifests; those of other manifests are ignored. Findings of policies that occur
/// in no label count as false; `extended.labelled_policies_only` is the score without them.
pub(crate) fn detector_eval(detections: &[Value], labels: &Map<String, Value>) -> Figures {
    let canonical = |policy: &str| PolicyName::normalise(policy).as_str().to_owned();
    let labelled: BTreeMap<&str, BTreeSet<String>> = labels
        .iter()
        .map(|(path, policies)| {
            let policies = policies.as_array().into_iter().flatten().filter_map(Value::as_str);
            (path.as_str(), policies.map(canonical).collect())
        })
        .collect();
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for detection in detections {
        let path = text(detection, "manifest_path").unwrap_or_default();
        if labelled.contains_key(path) {
            found
                .entry(path)
                .or_default()
                .insert(canonical(text(detection, "policy_id").unwrap_or_default()));
        }
    }
    let labelled_policies: BTreeSet<&String> = labelled.values().flatten().collect();
    let (mut all, mut all_labelled) = (Tally::default(), Tally::default());
    let mut policies: BTreeMap<String, Tally> = BTreeMap::new();
    let none = BTreeSet::new();
    for (path, expected) in &labelled {
        let detected = found.get(path).unwrap_or(&none);
        for policy in detected.union(expected) {
            let tally = policies.entry(policy.clone()).or_default();
            let mut tallies = vec![tally, &mut all];
            if labelled_policies.contains(policy) {
                tallies.push(&mut all_labelled);
            }
            for tally in tallies {
                match (detected.contains(policy), expected.contains(policy)) {
                    (true, true) => tally.tp += 1,
                    (true, false) => tally.fp += 1,
                    _ => tally.missed += 1,
                }
            }
        }
    }
    let mut value = all.object(false);
    let by_policy: Map<String, Value> =
        policies.iter().map(|(policy, tally)| (policy.clone(), tally.object(true))).collect();
    let count = policies.len().max(1) as f64;
    let mean = |of: fn((f64, f64, f64)) -> f64| {
        round(policies.values().map(|tally| of(tally.scores())).sum::<f64>() / count, 3)
    };
    let support: u64 = policies.values().map(|tally| tally.tp + tally.missed).sum();
    let weighted: f64 =
        policies.values().map(|tally| tally.scores().2 * (tally.tp + tally.missed) as f64).sum();
    if let Value::Object(value) = &mut value {
        value.insert("per_policy".to_owned(), Value::Object(by_policy));
        value.insert("macro_precision".to_owned(), json!(mean(|scores| scores.0)));
        value.insert("macro_recall".to_owned(), json!(mean(|scores| scores.1)));
        value.insert("macro_f1".to_owned(), json!(mean(|scores| scores.2)));
        value.insert("weighted_f1".to_owned(), json!(round(weighted / support.max(1) as f64, 3)));
        let extended = json!({
            "manifests": labelled.len(),
            "precision_interval": Proportion::new(all.tp, all.tp + all.fp),
            "recall_interval": Proportion::new(all.tp, all.tp + all.missed),
            "labelled_policies_only": all_labelled.object(false),
        });
        value.insert("extended".to_owned(), extended);
    }
    let numbers = ["precision", "recall", "f1", "tp", "fp", "fn"].map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("policy", Align::Left)).chain(numbers));
    for (name, tally) in
        std::iter::once(("all", all)).chain(policies.iter().map(|(name, tally)| (name.as_str(), *tally)))
    {
        let (precision, recall, f1) = tally.scores();
        let scores = [precision, recall, f1].map(|score| score.to_string());
        let counts = [tally.tp, tally.fp, tally.missed].map(|count| count.to_string());
        table.push(std::iter::once(name.to_owned()).chain(scores).chain(counts));
    }
    Figures::new(value).with(format!("Detections against labels (n = {} manifests)", labelled.len()), table)
}
