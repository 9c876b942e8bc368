//! Reads the published files, one record at a time.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use domain::config::Limits;
use domain::patch::Patch;
use domain::published::Detection;
use domain::testing::corpus;
use engine::document::Document;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

/// What was proposed for a record.
#[derive(Deserialize)]
struct Proposed {
    id: String,
    patch: Patch,
}

#[derive(Deserialize)]
pub(crate) struct Judged {
    id: String,
    pub(crate) accepted: bool,
    pub(crate) ok_schema: Option<bool>,
    pub(crate) ok_policy: Option<bool>,
    pub(crate) ok_safety: Option<bool>,
    pub(crate) patched_yaml: Option<String>,
    #[serde(default)]
    pub(crate) errors: Vec<String>,
}

/// A record of a published run with what was proposed and judged.
pub(crate) struct Recorded {
    pub(crate) id: String,
    pub(crate) raw_policy_id: String,
    pub(crate) manifest_path: String,
    /// The document of the record, shared between the records that have the same.
    pub(crate) document: Arc<Value>,
    pub(crate) patch: Patch,
    pub(crate) verdict: Judged,
}

/// Calls `take` with every record of the run, in order. Returns how many there were.
pub(crate) fn for_each(folder: &Path, mut take: impl FnMut(Recorded)) -> usize {
    let mut texts: BTreeMap<String, Arc<Value>> = BTreeMap::new();
    let mut detections = BTreeMap::new();
    stream(&folder.join("detections.json.gz"), |detection: Detection| {
        let text = detection.manifest_yaml.unwrap_or_default();
        let document = texts.entry(text).or_insert_with_key(|text| {
            let document =
                Document::parse(text, &Limits::default()).expect("recorded documents are readable");
            Arc::new(document.value)
        });
        let path = detection.manifest_path.unwrap_or_default();
        detections.insert(detection.id, (detection.policy_id, path, Arc::clone(document)));
    });
    let mut verdicts = BTreeMap::new();
    stream(&folder.join("verified.json.gz"), |verdict: Judged| {
        verdicts.insert(verdict.id.clone(), verdict);
    });
    let mut count = 0;
    stream(&folder.join("patches.json.gz"), |Proposed { id, patch }: Proposed| {
        let (raw_policy_id, manifest_path, document) =
            detections.remove(&id).expect("a detection for every patch");
        let verdict = verdicts.remove(&id).expect("a verdict for every patch");
        count += 1;
        take(Recorded { id, raw_policy_id, manifest_path, document, patch, verdict });
    });
    count
}

/// The texts of the corpus' files, by path below the corpus.
#[expect(clippy::disallowed_types, reason = "the corpus lies in files")]
pub(crate) fn manifests() -> BTreeMap<String, String> {
    let Some(path) = corpus("manifests.tar.gz") else { return BTreeMap::new() };
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(BufReader::new(file)));
    let mut found = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut text = String::new();
        if entry.read_to_string(&mut text).is_ok() {
            found.insert(path, text);
        }
    }
    found
}

#[expect(clippy::disallowed_types, reason = "the corpus lies in files")]
fn stream<T: DeserializeOwned>(path: &Path, take: impl FnMut(T)) {
    struct Entries<T, F>(F, PhantomData<T>);

    impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Entries<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of records")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(entry) = list.next_element()? {
                (self.0)(entry);
            }
            Ok(())
        }
    }

    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Reading from memory is several times as fast as reading from a stream.
    let mut text = Vec::new();
    flate2::bufread::GzDecoder::new(BufReader::new(file)).read_to_end(&mut text).expect("a gzip file");
    serde_json::Deserializer::from_slice(&text)
        .deserialize_seq(Entries(take, PhantomData))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
