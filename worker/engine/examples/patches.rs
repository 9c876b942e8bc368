//! Writes what the rules propose for every record of a detections file as JSON lines, for checks by other programs:
//! `cargo run --release -p engine --example patches -- detections.json.gz [targeted|paper]`.
//!
//! A line: `{"id", "policy", "document", "patch", "patched", "again"}`; `again` is how many operations the same
//! proposer makes for the patched document.

#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a tool for checks, not part of the library"
)]

use std::fs::File;
use std::io::{BufWriter, Read, Write};

use domain::config::{Limits, RulesConfig};
use domain::policy::PolicyName;
use domain::published::Detection;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::{View, neighbours};
use engine::propose::{Decision, rules};
use engine::verify::apply;
use serde_json::json;

fn main() {
    let path = std::env::args().nth(1).expect("usage: patches FILE");
    let mut text = String::new();
    flate2::read::GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let detections: Vec<Detection> = serde_json::from_str(&text).unwrap();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for detection in detections {
        let yaml = detection.manifest_yaml.unwrap_or_default();
        let Ok(document) = Document::parse(&yaml, &Limits::default()) else { continue };
        let policy = PolicyName::normalise(&detection.policy_id);
        let propose = |document: &Document, around: &Neighbours| {
            rules::propose(&View::new(document, around), &policy, &RulesConfig::default())
        };
        let Decision::Repair(proposal) = propose(&document, &Neighbours::Unknown) else { continue };
        let patched = Document::from_value(apply(&document.value, &proposal.patch).unwrap()).unwrap();
        let offers: Vec<_> = proposal
            .companions
            .iter()
            .filter_map(|companion| neighbours::offer(&Document::from_value(companion.clone()).ok()?))
            .collect();
        let around = if offers.is_empty() { Neighbours::Unknown } else { Neighbours::Known(offers) };
        let again = match propose(&patched, &around) {
            Decision::Repair(more) => more.patch.len() + more.companions.len(),
            _ => 0,
        };
        let line = json!({
            "id": detection.id, "policy": policy.as_str(), "document": document.value,
            "patch": proposal.patch, "patched": patched.value, "again": again,
        });
        serde_json::to_writer(&mut out, &line).unwrap();
        out.write_all(b"\n").unwrap();
    }
}
