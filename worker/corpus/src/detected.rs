//! Records from manifests: findings of the detector, sorted and numbered like published detections.

use std::sync::Arc;

use domain::config::RunConfig;
use domain::ids::RecordId;
use domain::outcome::ErrorKind;
use domain::record::{Neighbours, Problem, Record, SourceDocument};

use crate::error::CorpusError;
use crate::inputs::Inputs;
use crate::scan::{FileScan, Scan, Scanned, Trouble};
use crate::sink::Sink;
use crate::split::{Place, Positions};

/// Detects over `path` and gives every finding as a record.
pub(crate) fn read<E: From<CorpusError>>(
    path: &str,
    config: &RunConfig,
    sink: &mut Sink<'_, E>,
) -> Result<(), E> {
    let inputs = Inputs::open(&[path.to_owned()], &config.limits)?;
    let wanted = config.detector.policies().to_vec();
    let scan = Scan::survey(&inputs, config, wanted, config.context, Positions::Left)?;
    let (mut is_corpus, mut first) = (false, None);
    scan.files(
        |file| file,
        |file| {
            is_corpus |= has_manifest(&file);
            if first.is_none() {
                first = unlike(&file);
            }
            records(&file, config, sink)
        },
    )?;
    match first {
        Some(first) if !is_corpus => Err(CorpusError::NoRecord { path: path.to_owned(), first }.into()),
        _ => Ok(()),
    }
}

/// Whether something in the file is a manifest, or may be one that cannot be read.
fn has_manifest(file: &FileScan) -> bool {
    let is_object =
        |object: &Scanned| !object.document.identity.kind.is_empty() || !object.findings.is_empty();
    let is_other = |trouble: &Trouble| trouble.problem.kind != ErrorKind::NotAnObject;
    file.objects.iter().any(is_object) || !file.skipped.is_empty() || file.troubles.iter().any(is_other)
}

/// What the first document of the file is, that is no manifest.
fn unlike(file: &FileScan) -> Option<String> {
    let object = file
        .objects
        .first()
        .map(|object| format!("{}:{}: an object without kind", file.path, object.place.lines + 1));
    object.or_else(|| file.troubles.first().map(|trouble| located(&file.path, trouble).message))
}

/// One record before it is numbered; the order of the fields is the order of the records of a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row<'a> {
    /// The check's id; empty for what could not be read.
    pub rule: &'a str,
    /// What is wrong.
    pub message: &'a str,
    /// Which object; after the objects, what could not be read.
    pub at: usize,
}

/// The records of a file in their order; one for equal findings in one object.
pub fn rows(file: &FileScan) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (at, object) in file.objects.iter().enumerate() {
        rows.extend(object.findings.iter().map(|found| Row {
            rule: found.check,
            message: &found.message,
            at,
        }));
    }
    let broken = file.troubles.iter().enumerate();
    let known = file.objects.len();
    rows.extend(broken.map(|(at, found)| Row { rule: "", message: &found.problem.message, at: known + at }));
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn records<E: From<CorpusError>>(
    file: &FileScan,
    config: &RunConfig,
    sink: &mut Sink<'_, E>,
) -> Result<(), E> {
    let rows = rows(file);
    let known = file.objects.len();
    let mut documents: Vec<Option<SourceDocument>> = vec![None; known];
    for row in &rows {
        let number = sink.next_position() + 1;
        let id = RecordId::new(format!("{number:03}")).map_err(CorpusError::from)?;
        let (document, problem) = if let Some(object) = file.objects.get(row.at) {
            let document = documents[row.at].get_or_insert_with(|| {
                let text = object.place.object_text(&file.text, &object.document);
                SourceDocument::new(text, object.neighbours.clone())
            });
            (document.clone(), None)
        } else {
            let trouble = &file.troubles[row.at - known];
            (remains(trouble, &file.text, config), Some(located(&file.path, trouble)))
        };
        let violation_text = if problem.is_some() { String::new() } else { row.message.to_owned() };
        let record = Record {
            id,
            position: sink.next_position(),
            manifest_path: file.path.clone(),
            document: document.hash,
            raw_policy_id: row.rule.to_owned(),
            violation_text,
            problem,
        };
        sink.put(record, document)?;
    }
    Ok(())
}

/// What can be shown of a document that cannot be read.
fn remains(trouble: &Trouble, file: &str, config: &RunConfig) -> SourceDocument {
    let text = trouble.place.as_ref().map_or("", |place: &Place| place.text(file));
    let text: Arc<str> = if text.len() > config.limits.document_bytes { "".into() } else { text.into() };
    SourceDocument::new(text, Neighbours::Unknown)
}

/// The problem with file and line.
fn located(path: &str, trouble: &Trouble) -> Problem {
    let line = trouble.line.map(|line| format!(":{line}")).unwrap_or_default();
    Problem { kind: trouble.problem.kind, message: format!("{path}{line}: {}", trouble.problem.message) }
}
