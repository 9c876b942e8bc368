//! A corpus round-trips with any size of row groups; damaged files are refused.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use domain::ids::RecordId;
use domain::outcome::ErrorKind;
use domain::record::{Neighbour, Neighbours, Problem, Record, SourceDocument};
use proptest::prelude::*;

use super::{CorpusReader, CorpusSummary, CorpusWriter};

fn corpus(number: u64) -> (Record, SourceDocument) {
    // Three records share a document; every fifth has known neighbours, every seventh a problem.
    let text = format!("kind: Pod\nmetadata: {{name: p{}}}\n", number / 3);
    let neighbours = if (number / 3).is_multiple_of(5) {
        Neighbours::Known(vec![Neighbour::ServiceAccount { namespace: String::new(), name: "sa".to_owned() }])
    } else {
        Neighbours::Unknown
    };
    let document = SourceDocument::new(text, neighbours);
    let record = Record {
        id: RecordId::new(format!("{:03}", number + 1)).unwrap(),
        position: number,
        manifest_path: format!("{number}.yaml"),
        document: document.hash,
        raw_policy_id: "latest-tag".to_owned(),
        violation_text: String::new(),
        problem: number
            .is_multiple_of(7)
            .then(|| Problem { kind: ErrorKind::MalformedRecord, message: "bad".to_owned() }),
    };
    (record, document)
}

fn write(path: &Path, rows: impl IntoIterator<Item = (Record, SourceDocument)>) -> CorpusSummary {
    let mut writer = CorpusWriter::create(path).unwrap();
    for (record, document) in rows {
        writer.push(record, &document).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn slices_round_trip_with_any_size_of_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.parquet");
    let rows: Vec<_> = (0..2500).map(corpus).collect();
    let summary = write(&path, rows.clone());
    assert_eq!(summary.records, 2500);
    assert!(summary.repeated_ids.is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let reader = CorpusReader::open(&path).unwrap();
    assert_eq!((reader.records(), reader.bounds.len()), (2500, 4));
    for (start, len) in [(0, 1), (999, 2), (0, 2500), (990, 1020), (2499, 10), (2500, 1), (7, 0)] {
        let slice = reader.slice(start, len).unwrap();
        let from = usize::try_from(start).unwrap();
        let upto = usize::try_from((start + len).min(2500)).unwrap();
        let wanted = &rows[from..upto];
        assert_eq!(slice.records, wanted.iter().map(|(record, _)| record.clone()).collect::<Vec<_>>());
        let mut documents: Vec<_> = wanted.iter().map(|(_, document)| document.clone()).collect();
        documents.dedup();
        assert_eq!(slice.documents, documents, "{start} {len}");
    }
}

#[test]
fn the_hash_is_about_content_and_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let rows: Vec<_> = (0..20).map(corpus).collect();
    let hash = write(&path, rows.clone()).corpus_hash;
    assert_eq!(write(&path, rows.clone()).corpus_hash, hash);
    let mut swapped = rows.clone();
    swapped.swap(3, 4);
    assert_ne!(write(&path, swapped).corpus_hash, hash);
    let mut renamed = rows.clone();
    renamed[3].0.violation_text = "x".to_owned();
    assert_ne!(write(&path, renamed).corpus_hash, hash);
    let mut other = rows.clone();
    other[3].1 = SourceDocument::new("kind: Job", Neighbours::Unknown);
    assert_ne!(write(&path, other).corpus_hash, hash);
    assert_ne!(write(&path, rows[..19].iter().cloned()).corpus_hash, hash);
}

#[test]
fn repeated_ids_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [corpus(1), corpus(2), corpus(1), corpus(1)];
    let summary = write(&folder.path().join("c"), rows);
    assert_eq!(summary.repeated_ids, [RecordId::new("002").unwrap()]);
    assert_eq!(summary.records, 4);
}

#[test]
fn an_unfinished_file_does_not_appear() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = CorpusWriter::create(&folder.path().join("c")).unwrap();
    let (record, document) = corpus(0);
    writer.push(record, &document).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn foreign_and_cut_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let part = crate::part::write_part(&domain::ids::RunId::new("r").unwrap(), &[]).unwrap();
    std::fs::write(&path, part).unwrap();
    assert!(CorpusReader::open(&path).unwrap_err().to_string().contains("is not the corpus of a run"));
    write(&path, (0..5).map(corpus));
    let bytes = std::fs::read(&path).unwrap();
    let mut file = File::create(&path).unwrap();
    file.write_all(&bytes[..bytes.len() / 2]).unwrap();
    assert!(CorpusReader::open(&path).unwrap_err().to_string().contains("is damaged"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_text_survives(texts in prop::collection::vec((any::<String>(), any::<String>()), 1..5)) {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<_> = texts.into_iter().enumerate().map(|(at, (text, word))| {
            let document = SourceDocument::new(text, Neighbours::Unknown);
            let mut record = corpus(at as u64).0;
            record.document = document.hash;
            record.manifest_path = word.clone();
            record.violation_text = word;
            (record, document)
        }).collect();
        let path = folder.path().join("c");
        write(&path, rows.clone());
        let slice = CorpusReader::open(&path).unwrap().slice(0, u64::MAX).unwrap();
        prop_assert_eq!(slice.records, rows.iter().map(|(record, _)| record.clone()).collect::<Vec<_>>());
        for (record, document) in rows {
            prop_assert!(slice.documents.contains(&document), "{:?}", record);
        }
    }
}
