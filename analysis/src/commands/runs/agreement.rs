//! `analysis agreement`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::bail;
use cli_support::Exit;
use cli_support::failure::WithHint as _;
use results::corpus_copy::CorpusReader;
use results::layout::CORPUS_FILE;
use results::schema;
use serde_json::Value;

use crate::cli::{self, Context};
use crate::commands::input::load;
use crate::commands::print::show;
use crate::load::Results;
use crate::load::files::{self, FileError, text};
use crate::load::rows::rows;
use crate::metrics::agreement::{Finding, Other, Subject, agreement};

pub(crate) fn run(args: &cli::Agreement) -> anyhow::Result<Exit> {
    let mut ours = vec![];
    if !args.paths.is_empty() {
        of_rows(&args.paths, &mut ours)?;
    }
    for file in &args.detections {
        ours.extend(files::objects(file)?.iter().map(of_detection));
    }
    let evaluated: BTreeMap<&str, BTreeSet<String>> = args
        .evaluated
        .iter()
        .map(|named| Ok((named.name.as_str(), paths(Path::new(&named.place))?)))
        .collect::<Result<_, FileError>>()?;
    let mut others = vec![];
    for named in &args.findings {
        others.push(Other {
            name: named.name.clone(),
            findings: findings(Path::new(&named.place), args.context)?,
            evaluated: evaluated.get(named.name.as_str()).cloned(),
            whole: false,
        });
    }
    if let Some(name) = evaluated.keys().find(|name| !others.iter().any(|other| other.name == **name)) {
        return Err(anyhow::anyhow!("--evaluated names {name}, which has no --findings"))
            .hint("both take NAME=FILE, with the same name");
    }
    if let Some(file) = &args.labels {
        others.push(labels(file)?);
    }
    if others.is_empty() {
        bail!("nothing to compare with: name --findings or --labels");
    }
    show(&agreement(&ours, &others, args.top), &args.print)
}

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        record: &'a str = [schema::RECORD_ID],
        manifest: &'a str = [schema::MANIFEST_PATH],
        kind: &'a str = [schema::KIND],
        name: &'a str = [schema::NAME],
        policy: &'a str = [schema::RAW_POLICY_ID],
        status: &'a str = [schema::STATUS],
    }
}

/// Records of a corpus that are read at once.
const STEP: u64 = 1000;

/// The rows of runs: each is a detection, unless its document does not violate its policy.
fn of_rows(places: &[String], ours: &mut Vec<Finding>) -> anyhow::Result<()> {
    let results = load(places)?;
    let messages = messages(&results)?;
    results.each::<Row>(|row| {
        if row.status != domain::outcome::Status::NotApplicable.as_str() {
            let message = messages.get(row.run).and_then(|of_run| of_run.get(row.record));
            ours.push(Finding {
                subject: Subject {
                    manifest: row.manifest.to_owned(),
                    kind: row.kind.to_owned(),
                    name: row.name.to_owned(),
                },
                policy: row.policy.to_owned(),
                message: message.cloned().unwrap_or_default(),
            });
        }
    })?;
    Ok(())
}

/// The detector's messages by run and record, from the copies of the corpora; none of runs without one.
fn messages(results: &Results) -> anyhow::Result<HashMap<String, HashMap<String, String>>> {
    let mut messages = HashMap::new();
    for (run, folder) in results.runs().zip(results.folders()) {
        let path = folder.join(CORPUS_FILE);
        if !path.is_file() {
            continue;
        }
        let corpus = CorpusReader::open(&path)?;
        let mut of_run = HashMap::new();
        let mut start = 0;
        while start < corpus.records() {
            let records = corpus.slice(start, STEP)?.records;
            of_run.extend(
                records.into_iter().map(|record| (record.id.as_str().to_owned(), record.violation_text)),
            );
            start += STEP;
        }
        messages.insert(run.run_id.as_str().to_owned(), of_run);
    }
    Ok(messages)
}

fn of_detection(entry: &Value) -> Finding {
    let owned = |key| text(entry, key).unwrap_or_default().to_owned();
    let document: Value = text(entry, "manifest_yaml")
        .and_then(|yaml| serde_saphyr::from_str(yaml).ok())
        .unwrap_or(Value::Null);
    let of = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Finding {
        subject: Subject { manifest: owned("manifest_path"), kind: of("/kind"), name: of("/metadata/name") },
        policy: owned("policy_id"),
        message: owned("violation_text"),
    }
}

/// Recorded findings: JSON lines with manifest, kind, name, check or policy, message, and where it applies the context.
fn findings(path: &Path, context: Context) -> Result<Vec<Finding>, FileError> {
    let bytes = files::bytes(path)?;
    let mut findings = vec![];
    for (place, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let entry: Value = serde_json::from_slice(line).map_err(|error| {
            FileError::shape(path, format!("line {} is not valid JSON: {error}", place + 1))
        })?;
        let other = if context == Context::Folder { "alone" } else { "folder" };
        if text(&entry, "context") == Some(other) {
            continue;
        }
        let owned = |key| text(&entry, key).unwrap_or_default().to_owned();
        let Some(policy) = text(&entry, "check").or_else(|| text(&entry, "policy")) else {
            return Err(FileError::shape(path, format!("line {} has neither check nor policy", place + 1)));
        };
        findings.push(Finding {
            subject: Subject { manifest: owned("manifest"), kind: owned("kind"), name: owned("name") },
            policy: policy.to_owned(),
            message: owned("message"),
        });
    }
    Ok(findings)
}

/// A JSON list of manifests.
fn paths(path: &Path) -> Result<BTreeSet<String>, FileError> {
    match files::json(path)? {
        Value::Array(entries) => Ok(entries.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => Err(FileError::shape(path, "is not a JSON list of manifests")),
    }
}

/// Labels: manifest → policies. Every labelled manifest was evaluated.
fn labels(path: &Path) -> Result<Other, FileError> {
    let Value::Object(labels) = files::json(path)? else {
        return Err(FileError::shape(path, "is not a JSON object of manifests"));
    };
    let findings = labels.iter().flat_map(|(manifest, policies)| {
        let policies = policies.as_array().into_iter().flatten().filter_map(Value::as_str);
        policies.map(|policy| Finding {
            subject: Subject { manifest: manifest.clone(), ..Subject::default() },
            policy: policy.to_owned(),
            message: String::new(),
        })
    });
    Ok(Other {
        name: "labels".to_owned(),
        findings: findings.collect(),
        evaluated: Some(labels.keys().cloned().collect()),
        whole: true,
    })
}
