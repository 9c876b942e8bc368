//! The inverse of every accepted repair: of the published ones, and of what our rules make of the same records.
#![expect(clippy::disallowed_types, reason = "tests read the reference corpus")]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use domain::config::{Limits, RulesConfig, RunConfig};
use domain::patch::Patch;
use domain::policy::PolicyName;
use domain::published::{Detection, Patch as Published, Verified};
use domain::record::Neighbours;
use engine::document::Document;
use engine::inverse::inverse;
use engine::k8s::View;
use engine::propose::{Decision, rules};
use engine::rewrite::rewrite;
use engine::verify::{Candidate, apply, examine, verify};
use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

/// One of so many published repairs is also written back into its text, and one of so many records is repaired by our rules.
/// `INVERSE_ONE_IN=1` takes them all.
const ONE_IN: usize = 16;

fn entries<T: DeserializeOwned>(folder: &Path, name: &str) -> Vec<T> {
    let path = folder.join("rules_full").join(format!("{name}.json.gz"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_reader(BufReader::new(GzDecoder::new(file))).expect("a list of entries")
}

/// Repairs undone, and how their texts came back.
#[derive(Debug, Default)]
struct Undone {
    repairs: usize,
    texts: usize,
    same_bytes: usize,
}

impl Undone {
    /// Applies a patch and its inverse to a document, and for one of `one_in` to its text.
    fn take(&mut self, text: &str, document: &Document, patch: &Patch, one_in: usize) {
        let limits = Limits::default();
        self.repairs += 1;
        let back = inverse(&document.value, patch).expect("an inverse");
        let patched = apply(&document.value, patch).expect("a patched document");
        assert_eq!(apply(&patched, &back).as_ref(), Ok(&document.value), "{} {text}", patch.to_json());
        if !self.repairs.is_multiple_of(one_in) {
            return;
        }
        let Ok(repaired) = rewrite(text, patch, &limits) else { return };
        let returned = rewrite(&repaired.text, &back, &limits).expect("a text");
        let value = Document::parse(&returned.text, &limits).expect("a document").value;
        assert_eq!(value, document.value, "{}", returned.text);
        self.texts += 1;
        self.same_bytes += usize::from(returned.text == text);
    }
}

#[test]
fn every_accepted_repair_is_undone() {
    let Some(folder) = domain::testing::corpus("rules_full") else { return };
    let folder = folder.parent().expect("its folder");
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let one_in = std::env::var("INVERSE_ONE_IN").ok().and_then(|text| text.parse().ok()).unwrap_or(ONE_IN);
    let accepted: HashSet<String> = entries::<Verified>(folder, "verified")
        .into_iter()
        .filter(|row| row.accepted)
        .map(|row| row.id)
        .collect();
    let patches: HashMap<String, Published> =
        entries::<Published>(folder, "patches").into_iter().map(|patch| (patch.id.clone(), patch)).collect();
    let (mut published, mut ours, mut records) = (Undone::default(), Undone::default(), 0);
    let mut number = 0_usize;
    // Records that share document and policy share the repair.
    let mut known: HashMap<(String, PolicyName), bool> = HashMap::new();
    for detection in entries::<Detection>(folder, "detections") {
        let Some(text) = detection.manifest_yaml else { continue };
        let Ok(document) = Document::parse(&text, &Limits::default()) else { continue };
        if let Some(entry) = patches.get(&detection.id).filter(|_| accepted.contains(&detection.id)) {
            let patch = Patch::from_json(&entry.patch.to_string()).expect("a patch");
            published.take(&text, &document, &patch, one_in);
        }
        number += 1;
        if !number.is_multiple_of(one_in) {
            continue;
        }
        let policy = PolicyName::normalise(&detection.policy_id);
        let is_accepted = *known.entry((text.clone(), policy.clone())).or_insert_with(|| {
            let patch = accepted_patch(&document, &policy);
            if let Some(patch) = &patch {
                ours.take(&text, &document, patch, 1);
            }
            patch.is_some()
        });
        records += usize::from(is_accepted);
    }
    eprintln!("published: {published:?}; ours, of {records} accepted records: {ours:?}");
    assert_eq!(published.repairs, 13_589);
    assert!(records * one_in > 10_000 && ours.repairs > 100, "{records} {ours:?}");
}

/// The patch of the rules, where all gates accept it.
fn accepted_patch(document: &Document, policy: &PolicyName) -> Option<Patch> {
    let config = RunConfig::default();
    let view = View::new(document, &Neighbours::Unknown);
    let Decision::Repair(proposal) = rules::propose(&view, policy, &RulesConfig::default()) else {
        return None;
    };
    let before = examine(document, &Neighbours::Unknown, &config, &|| 0.0);
    let candidate = Candidate {
        document,
        neighbours: &Neighbours::Unknown,
        before: &before,
        policy,
        proposal: &proposal,
    };
    verify(candidate, &config, &|| 0.0).accepted().then_some(proposal.patch)
}
