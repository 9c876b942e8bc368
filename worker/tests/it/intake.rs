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
fn what_holds_no_record_at_all_is_refused_with_the_forms_that_are_read() {
    const A: &str = r#"{"id":"1","policy_id":"no_latest_tag","manifest_yaml":"kind: Pod"}"#;
    let folder = tempfile::tempdir().unwrap();
    let all = |name: &str, text: &str| {
        write(folder.path(), name, text.as_bytes());
        let source = Source { corpus: folder.path().join(name), manifests: None };
        let mut records = 0;
        let result = read::<CorpusError>(&source, &RunConfig::default(), &mut |_, _| {
            records += 1;
            Ok(())
        });
        (result, records)
    };
    for (name, text) in [
        ("deep.json", format!(r#"{{"data":{{"detections":[{A}]}}}}"#)),
        ("object.json", format!(r#"{{"1":{A},"2":{A}}}"#)),
        ("nested.json", format!("[[{A},{A}]]")),
        ("texts.json", r#"["a","b"]"#.to_owned()),
        ("lines.jsonl", "{\"a\":1}\n{\"a\":2}\n".to_owned()),
        ("list.yaml", format!("- {A}\n")),
    ] {
        let (result, records) = all(name, &text);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("nothing in it is a record") && error.contains("under one key"), "{error}");
        assert!(name == "list.yaml" || records == 0, "{name}: no row is written");
    }
    // One record among others is a corpus, and an empty one is too.
    for (text, expected) in [(format!("[5,{A}]"), 2), (r#"[{"id":"1"}]"#.to_owned(), 1), ("[]".to_owned(), 0)]
    {
        let (result, records) = all("some.json", &text);
        assert_eq!((result.unwrap().records, records), (expected, expected), "{text}");
    }
    // Files of detections are no manifests, wherever they stand.
    std::fs::create_dir(folder.path().join("two")).unwrap();
    for name in ["two/a.json", "two/b.json"] {
        write(folder.path(), name, format!("[{A}]").as_bytes());
    }
    let source = Source { corpus: folder.path().join("two"), manifests: None };
    let error = read::<CorpusError>(&source, &RunConfig::default(), &mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("nothing in it is a record or a manifest"), "{error}");
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
