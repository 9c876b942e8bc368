//! A real control plane against the recorded verdicts of the reference corpus.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Instant;

use api_server::{ApiServer, Limits};
use domain::api_server::{ServerClass, ServerVerdict};
use domain::testing::corpus;
use flate2::read::GzDecoder;
use futures::StreamExt as _;
use serde_json::Value;

use crate::live::source;

/// Every so many documents in the short run.
const EACH: usize = 23;

/// A recorded verdict and its document.
struct Recorded {
    id: String,
    class: String,
    fields: Vec<String>,
    text: String,
}

fn lines(name: &str) -> Option<Vec<Value>> {
    let file = std::fs::File::open(corpus(&format!("server_verdicts/{name}.jsonl.gz"))?).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    Some(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect())
}

fn recorded(line: &Value, text: String) -> Recorded {
    let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let causes = line["causes"].as_array().into_iter().flatten();
    Recorded {
        id: word("id"),
        class: word("class"),
        fields: causes.map(|cause| cause[0].as_str().unwrap_or_default().to_owned()).collect(),
        text,
    }
}

fn manifests() -> Option<Vec<Recorded>> {
    let mut archive =
        tar::Archive::new(GzDecoder::new(std::fs::File::open(corpus("manifests.tar.gz")?).unwrap()));
    let mut texts: HashMap<String, String> = HashMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    let found = lines("manifests")?;
    let named = found.iter().map(|line| {
        let id = line["id"].as_str().unwrap();
        let text = texts.get(id).unwrap_or_else(|| panic!("{id} is not in the archive"));
        recorded(line, text.clone())
    });
    Some(named.collect())
}

fn mutants() -> Option<Vec<Recorded>> {
    let found = lines("mutants_a")?;
    Some(found.iter().map(|line| recorded(line, line["text"].as_str().unwrap().to_owned())).collect())
}

/// Asks about every `each`th document of both sets. Class and fields must be as recorded.
#[expect(clippy::print_stdout, reason = "the figures are what a run by hand is made for; tests capture them")]
async fn compare(each: usize) {
    let Some(source) = source() else { return };
    let (Some(manifests), Some(mutants)) = (manifests(), mutants()) else { return };
    let server = ApiServer::connect(&source, Limits::default()).await.unwrap();
    let mut differ = Vec::new();
    for (name, all) in [("manifests", manifests), ("mutants", mutants)] {
        let chosen: Vec<&Recorded> = all.iter().step_by(each).collect();
        let start = Instant::now();
        let judged: Vec<ServerVerdict> = futures::stream::iter(&chosen)
            .map(|one| server.judge(&one.text))
            .buffered(32)
            .map(Result::unwrap)
            .collect()
            .await;
        let seconds = start.elapsed().as_secs_f64();
        let before = differ.len();
        differ.extend(chosen.iter().zip(&judged).filter_map(|(one, found)| one.difference(found)));
        println!(
            "{name}: {} documents in {seconds:.1} s ({:.0}/s), {} judged otherwise",
            chosen.len(),
            chosen.len() as f64 / seconds,
            differ.len() - before
        );
    }
    server.stop().await;
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

impl Recorded {
    fn difference(&self, found: &ServerVerdict) -> Option<String> {
        let Self { id, class, fields, .. } = self;
        // Whether a namespace exists depended on what the recording had asked before.
        let exists = found.class == ServerClass::Conflict && class == "accepted"
            || found.class == ServerClass::Accepted && class == "conflict";
        let now: Vec<&str> = found.causes.iter().map(|cause| cause.field.as_str()).collect();
        let same = (class == found.class.as_str() || exists) && now == *fields;
        (!same).then(|| {
            format!("{id}: {class} {fields:?} is {} now: {:?}", found.class.as_str(), found.errors())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_judged_as_recorded() {
    compare(EACH).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks about 10,012 documents: half a minute"]
async fn everything_is_judged_as_recorded() {
    compare(1).await;
}
