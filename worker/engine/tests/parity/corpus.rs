//! Reads the published files, one record at a time.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::config::Limits;
use domain::published::{Detection, Patch, Verified};
use engine::document::Document;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

/// A record of a published run with what was proposed and judged.
pub(crate) struct Recorded {
    pub(crate) detection: Detection,
    /// The document of the record, shared between the records that have the same.
    pub(crate) document: Option<Arc<Value>>,
    pub(crate) patch: Patch,
    pub(crate) verified: Verified,
}

/// The folder of a published run; `None`, and a word about it, when the corpus is not there.
pub(crate) fn folder(run: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus").join(run);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no ../shared/corpus");
    None
}

/// Calls `take` with every record of the run, in order. Returns how many there were.
pub(crate) fn for_each(folder: &Path, mut take: impl FnMut(Recorded)) -> usize {
    let mut texts: BTreeMap<String, Option<Arc<Value>>> = BTreeMap::new();
    let mut detections = BTreeMap::new();
    stream(&folder.join("detections.json.gz"), |mut detection: Detection| {
        let text = detection.manifest_yaml.take().unwrap_or_default();
        let document = texts.entry(text).or_insert_with_key(|text| {
            Document::parse(text, &Limits::default()).ok().map(|document| Arc::new(document.value))
        });
        detections.insert(detection.id.clone(), (detection, document.clone()));
    });
    let mut verdicts = BTreeMap::new();
    stream(&folder.join("verified.json.gz"), |verified: Verified| {
        verdicts.insert(verified.id.clone(), verified);
    });
    let mut count = 0;
    stream(&folder.join("patches.json.gz"), |patch: Patch| {
        let (detection, document) = detections.remove(&patch.id).expect("a detection for every patch");
        let verified = verdicts.remove(&patch.id).expect("a verdict for every patch");
        count += 1;
        take(Recorded { detection, document, patch, verified });
    });
    count
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
    let reader = BufReader::new(flate2::bufread::GzDecoder::new(BufReader::new(file)));
    serde_json::Deserializer::from_reader(reader)
        .deserialize_seq(Entries(take, PhantomData))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
