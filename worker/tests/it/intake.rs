//! Every form of corpus yields the same records.

use std::collections::BTreeMap;
use std::path::Path;

use corpus::{CorpusError, Form, Source, Summary, read};
use domain::config::{Documents, RunConfig};
use domain::record::{Neighbours, Record, SourceDocument};
use domain::testing::corpus as shared_corpus;

fn take(
    corpus: &Path,
    manifests: Option<&Path>,
    config: &RunConfig,
) -> (Summary, Vec<(Record, SourceDocument)>) {
    let source = Source { corpus: corpus.to_owned(), manifests: manifests.map(Path::to_owned) };
    let mut records = Vec::new();
    let summary = read::<CorpusError>(&source, config, &mut |record, document| {
        records.push((record, document));
        Ok(())
    })
    .unwrap();
    (summary, records)
}

fn write(folder: &Path, path: &str, text: &[u8]) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

const PRIVILEGED: &str = "{name: c, image: 'a:1', securityContext: {privileged: true}}";

#[test]
fn a_folder_becomes_sorted_numbered_records() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{PRIVILEGED}]}}\n"
        )
    };
    write(root, "b.yaml", format!("{}---\n{}---\na: [\n", pod("x"), pod("y")).as_bytes());
    let list =
        format!("kind: List\nitems:\n- {{kind: Pod, spec: {{containers: [{PRIVILEGED}, {PRIVILEGED}]}}}}\n");
    write(root, "a/list.yml", list.as_bytes());
    write(root, "c.json", b"\xff");
    let (summary, records) = take(root, None, &RunConfig::default());
    assert_eq!(summary.form, Form::Manifests);
    assert_eq!(summary.records, records.len() as u64);
    let privileged: Vec<_> = records
        .iter()
        .filter(|(record, _)| record.raw_policy_id == "privileged-container")
        .map(|(record, document)| (record.manifest_path.as_str(), &*document.text))
        .collect();
    let at = |below: &str| format!("{}/{below}", root.display());
    let (list, both) = (at("a/list.yml"), at("b.yaml"));
    assert_eq!(privileged.len(), 3, "the two containers of the item have one name and one message");
    assert_eq!(privileged[0].0, list);
    assert!(privileged[0].1.starts_with("kind: Pod\nspec:\n"), "a list's item is re-serialised");
    assert_eq!(privileged[1], (both.as_str(), pod("x").as_str()));
    assert_eq!(privileged[2], (both.as_str(), pod("y").as_str()));
    for (at, (record, document)) in records.iter().enumerate() {
        assert_eq!(record.id.as_str(), format!("{:03}", at + 1));
        assert_eq!(record.position, at as u64);
        assert_eq!(record.document, document.hash);
        let known = matches!(document.neighbours, Neighbours::Known(_));
        assert_eq!(known, record.problem.is_none());
    }
    let problems: Vec<_> =
        records.iter().filter_map(|(record, _)| Some(record.problem.as_ref()?.message.clone())).collect();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].starts_with(&format!("{both}:12: ")), "{problems:?}");
    assert!(problems[1].contains("not UTF-8 at byte 0"), "{problems:?}");
    assert_eq!(summary.problems.values().sum::<u64>(), 2);
}

#[test]
fn manifest_mode_needs_manifests() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "d.json", b"[]");
    let source = Source { corpus: folder.path().join("d.json"), manifests: None };
    let config = RunConfig { documents: Documents::Manifest, ..RunConfig::default() };
    let error = read::<CorpusError>(&source, &config, &mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("documents: manifest needs"), "{error}");
}

#[test]
fn every_published_record_has_its_document_or_a_reason() {
    let Some(detections) = shared_corpus("rules_full/detections.json.gz") else { return };
    let Some(manifests) = shared_corpus("manifests.tar.gz") else { return };
    let own = RunConfig::default();
    let (summary, records) = take(&detections, None, &own);
    let distinct: std::collections::BTreeSet<_> = records.iter().map(|(record, _)| record.document).collect();
    assert_eq!((summary.records, distinct.len()), (13_656, 3_234));
    assert!(summary.problems.is_empty());
    assert_eq!(records[13_655].0.position, 13_655);

    let whole = RunConfig { documents: Documents::Manifest, ..RunConfig::default() };
    let (summary, records) = take(&detections, Some(&manifests), &whole);
    assert_eq!(summary.records, 13_656);
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for problem in records.iter().filter_map(|(record, _)| record.problem.as_ref()) {
        let reason = problem.message.split_once(": ").map_or(&*problem.message, |(_, reason)| reason);
        *reasons.entry(format!("{}: {reason}", problem.kind)).or_default() += 1;
    }
    assert_eq!(reasons.values().sum::<u64>(), 0, "{reasons:?}");
}
