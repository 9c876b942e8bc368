//! A real control plane against the recorded verdicts of the reference corpus.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Instant;

use api_server::{ApiServer, Limits};
use domain::server_verdict::ServerVerdict;
use domain::testing::corpus;
use flate2::read::GzDecoder;
use futures::StreamExt as _;
use serde_json::Value;

use crate::live::source;

/// Every so many documents in the short run: the whole takes a minute.
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

/// Asks about every `each`th document; gives the disagreements, and how many were asked in a second.
async fn compare(name: &str, all: &[Recorded], each: usize) -> Vec<String> {
    let Some(source) = source() else { return Vec::new() };
    let server = ApiServer::connect(&source, Limits::default()).await.unwrap();
    let chosen: Vec<&Recorded> = all.iter().step_by(each).collect();
    let start = Instant::now();
    let judged: Vec<ServerVerdict> = futures::stream::iter(&chosen)
        .map(|one| server.judge(&one.text))
        .buffered(32)
        .map(Result::unwrap)
        .collect()
        .await;
    let seconds = start.elapsed().as_secs_f64();
    server.stop().await;
    let (mut differ, mut fields) = (Vec::new(), 0_usize);
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for (one, found) in chosen.iter().zip(&judged) {
        *classes.entry(&one.class).or_default() += 1;
        // Whether a namespace or an object exists depends on what the recording had asked before.
        let taken = ["accepted", "conflict"];
        let same =
            one.class == found.class.as_str() || (taken.contains(&&*one.class) && found.class.accepts());
        if !same {
            differ.push(format!(
                "{}: {} now {}: {:?}",
                one.id,
                one.class,
                found.class.as_str(),
                found.errors()
            ));
        }
        let now: Vec<&str> = found.causes.iter().map(|cause| cause.field.as_str()).collect();
        fields += usize::from(now != one.fields);
    }
    println!(
        "{name}: {} documents in {seconds:.1} s ({:.0}/s), {} of another class, {fields} of other fields; {classes:?}",
        chosen.len(),
        chosen.len() as f64 / seconds,
        differ.len()
    );
    differ
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_judged_as_recorded() {
    if source().is_none() {
        return;
    }
    let (Some(manifests), Some(mutants)) = (manifests(), mutants()) else { return };
    let mut differ = compare("manifests", &manifests, EACH).await;
    differ.extend(compare("mutants", &mutants, EACH).await);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks about 10,012 documents: a minute or two"]
async fn everything_is_judged_as_recorded() {
    if source().is_none() {
        return;
    }
    let (Some(manifests), Some(mutants)) = (manifests(), mutants()) else { return };
    let mut differ = compare("manifests", &manifests, 1).await;
    differ.extend(compare("mutants", &mutants, 1).await);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
