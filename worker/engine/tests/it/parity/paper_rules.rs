//! The published rules on the recorded documents make the recorded patches and the recorded documents.

use std::collections::BTreeMap;

use domain::config::Limits;
use domain::policy::{PolicyId, PolicyName};
use engine::document::Document;
use engine::propose::{Decision, paper};
use engine::verify::apply;
use serde_json::Value;

use super::aliasing;
use super::corpus::{Recorded, for_each, manifests};

/// Records whose stored manifest is not the one that the run read, so that no rule can make the recorded patch.
const OTHER_MANIFEST: [&str; 9] =
    ["2869", "4336", "5545", "7048", "12302", "12303", "12304", "12305", "13179"];

/// How the records compare.
#[derive(Default)]
struct Comparison {
    same_patch: usize,
    other_patch: Vec<String>,
    accepted: usize,
    same_document: usize,
    other_document: Vec<String>,
    /// Operations of our patches, and how many of them are guards'.
    ops: Vec<usize>,
    guard_ops: Vec<u32>,
}

/// A list of preferred terms in which none repeats the one before: the original doubled them.
fn without_doubled_terms(mut value: Value) -> Value {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if let (true, Value::Array(terms)) =
                        (key == "preferredDuringSchedulingIgnoredDuringExecution", &mut *value)
                    {
                        terms.dedup();
                    }
                    visit(value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(visit),
            _ => {}
        }
    }
    visit(&mut value);
    value
}

/// The file that the one policy read again instead of the record's document.
fn reread(record: &Recorded, policy: &PolicyName, files: &BTreeMap<String, String>) -> Option<Value> {
    let text = files.get(record.manifest_path.strip_prefix("data/")?)?;
    let rereads = *policy == PolicyName::Known(PolicyId::JobTtlAfterFinished);
    rereads.then(|| Document::parse(text, &Limits::default()).expect("a readable file").value)
}

fn compare(record: &Recorded, files: &BTreeMap<String, String>, sum: &mut Comparison) {
    let policy = PolicyName::normalise(&record.raw_policy_id);
    let file = reread(record, &policy, files);
    let (document, source) = match &file {
        Some(file) => (file, paper::Source::Manifest),
        None => (&*record.document, paper::Source::Record { raw_policy_id: &record.raw_policy_id }),
    };
    sum.accepted += usize::from(record.verdict.accepted);
    let Decision::Repair(proposal) = paper::propose(document, &policy, source) else {
        return sum.other_patch.push(record.id.clone());
    };
    let own = proposal.patch.len() - proposal.collateral_ops as usize;
    sum.ops.push(proposal.patch.len());
    sum.guard_ops.push(proposal.collateral_ops);
    let recorded = serde_json::to_value(&record.patch).expect("a patch is JSON");
    let same_patch = aliasing::recorded(document, &proposal.patch, own) == recorded;
    sum.same_patch += usize::from(same_patch);
    if !same_patch {
        sum.other_patch.push(record.id.clone());
    }
    let Some(text) = &record.verdict.patched_yaml else { return };
    let recorded = Document::parse(text, &Limits::default()).expect("recorded documents are readable");
    let ours = apply(&record.document, &proposal.patch).map(without_doubled_terms);
    if ours.as_ref() == Ok(&without_doubled_terms(recorded.value)) {
        sum.same_document += 1;
    } else {
        sum.other_document.push(record.id.clone());
    }
}

#[test]
fn the_published_rules_make_the_recorded_patches_and_documents() {
    let Some(folder) = domain::testing::corpus("rules_full") else { return };
    let files = manifests();
    let mut sum = Comparison::default();
    let count = for_each(&folder, |record| compare(&record, &files, &mut sum));
    assert_eq!((count, sum.accepted), (13_656, 13_589));
    sum.ops.sort_unstable();
    sum.guard_ops.sort_unstable();
    let median = sum.ops[sum.ops.len() / 2];
    eprintln!(
        "same patch {} of {count}, same document {} of {}",
        sum.same_patch, sum.same_document, sum.accepted
    );
    eprintln!("median operations {median}, of the guards {}", sum.guard_ops[sum.guard_ops.len() / 2]);
    // The rest is explained, record by record.
    let explained = |ids: &[String]| ids.iter().all(|id| OTHER_MANIFEST.contains(&id.as_str()));
    assert!(explained(&sum.other_patch), "other patches: {:?}", sum.other_patch);
    assert!(explained(&sum.other_document), "other documents: {:?}", sum.other_document);
    assert_eq!(sum.same_patch + sum.other_patch.len(), count);
    assert_eq!(sum.same_document + sum.other_document.len(), sum.accepted);
    assert!((6..=10).contains(&median), "median {median}");
}
