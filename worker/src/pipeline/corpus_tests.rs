//! The pipeline over the published corpus, where it is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use domain::outcome::{Fault, Outcome, Status, Verdict};
use domain::published::Detection;
use domain::record::{Neighbours, Record, Slice, SourceDocument};

use super::*;

fn records() -> Option<Vec<(Record, SourceDocument)>> {
    let file = std::fs::File::open(domain::testing::corpus("rules_full/detections.json.gz")?).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let detections: Vec<Detection> = serde_json::from_str(&text).unwrap();
    let build = |(position, detection): (usize, Detection)| {
        let document = SourceDocument::new(detection.manifest_yaml.unwrap_or_default(), Neighbours::Unknown);
        let (mut record, _) = domain::testing::record(position as u64, &detection.policy_id, "");
        record.document = document.hash;
        (record, document)
    };
    Some(detections.into_iter().enumerate().map(build).collect())
}

fn outcomes(records: &[(Record, SourceDocument)], context: &Context) -> Vec<Outcome> {
    records
        .chunks(500)
        .flat_map(|chunk| {
            let mut seen = BTreeSet::new();
            let documents = chunk.iter().map(|(_, document)| document);
            let slice = Slice {
                records: chunk.iter().map(|(record, _)| record.clone()).collect(),
                documents: documents.filter(|document| seen.insert(document.hash)).cloned().collect(),
            };
            run_slice(&slice, context)
        })
        .collect()
}

fn table<'a>(rows: impl Iterator<Item = &'a Outcome>) -> String {
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for row in rows {
        let gate = row.gates.first_failed().map_or("-", domain::outcome::Gate::as_str);
        let reason: String = row.errors.first().map_or("-", String::as_str).chars().take(70).collect();
        let key = format!("{:14} {:9} {:9} {:30} {reason}", row.status, gate, row.fault, row.policy_id);
        counts.entry(key).or_insert((0, row.record_id.to_string())).0 += 1;
    }
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    rows.iter()
        .take(60)
        .map(|(key, (count, example))| format!("{count:6} {key} (e.g. {example})"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn published_records_are_repaired() {
    let Some(records) = records() else { return };
    let rows = outcomes(&records, &super::tests::context());
    assert_eq!(rows.len(), records.len(), "one outcome a record");
    println!("not accepted, of all:\n{}", table(rows.iter().filter(|row| !row.accepted())));
    let faulty: Vec<&Outcome> =
        rows.iter().filter(|row| matches!(row.fault, Fault::Patch | Fault::Proposer)).collect();
    assert!(faulty.is_empty(), "rejected by a fault of our proposer:\n{}", table(faulty.into_iter()));
    let valid: Vec<&Outcome> = rows
        .iter()
        .filter(|row| {
            row.gates.schema_before.verdict == Verdict::Passed && row.policy_id != "dangling_service"
        })
        .collect();
    let accepted = valid.iter().filter(|row| row.accepted()).count();
    println!("{accepted} of {} records with a valid document accepted", valid.len());
    // A violation in a pruned field cannot be repaired: `not_applicable` is correct for such a record. Nor can an image be
    // named in place of a stand-in (`ko://…`, `IMAGE`).
    let stand_in = |row: &Outcome| row.policy_id == "no_latest_tag" && row.status == Status::NeedsReview;
    assert!(valid.iter().filter(|row| stand_in(row)).count() < 40);
    // Agents of nodes are not emptied, and objects that were read from a cluster are not changed where they cannot be.
    let surroundings = |row: &Outcome| {
        let reason = row.errors.first().map_or("", String::as_str);
        let is_said =
            ["is an agent of its node", "was read from a cluster"].iter().any(|it| reason.contains(it));
        row.status == Status::NeedsReview && is_said
    };
    let by_surroundings: Vec<&&Outcome> = valid.iter().filter(|row| surroundings(row)).collect();
    println!("left to a person by surroundings:\n{}", table(by_surroundings.iter().map(|row| **row)));
    assert!(by_surroundings.iter().all(|row| ["DaemonSet", "Job", "Pod"].contains(&row.kind.as_str())));
    let is_open = |row: &&&Outcome| {
        !row.accepted() && row.status != Status::NotApplicable && !stand_in(row) && !surroundings(row)
    };
    let open: Vec<&Outcome> = valid.iter().filter(is_open).copied().collect();
    assert!(
        open.len() * 1000 <= valid.len(),
        "{} of {}:\n{}",
        open.len(),
        valid.len(),
        table(open.into_iter())
    );
    for row in rows.iter().filter(|row| row.accepted()) {
        assert_eq!(row.gates.rescan.verdict, Verdict::Passed);
        assert!(row.new_violations.is_empty());
        assert_eq!(row.proposal.as_ref().map(|proposal| proposal.collateral_ops), Some(0));
    }
}
