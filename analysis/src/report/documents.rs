//! Example records: the document, the effect of the patch, and the messages of the gates.
//!
//! *Invariant*: a report contains no secret of a manifest, because it is passed on.

use std::sync::Arc;

use domain::sensitive;
use polars::prelude::*;
use results::corpus_copy::{CorpusReader, FileError};
use results::run_file::CORPUS_FILE;
use results::schema;
use serde_json::Value;
use similar::TextDiff;

use super::block::{Document, Example};
use super::run::Run;
use crate::load::AnalysisError;

/// Maximum length of a document or diff, of a patch, and of a message, in characters.
const DOCUMENT: usize = 6000;
const PATCH: usize = 4000;
const MESSAGE: usize = 600;

/// A record to show, and the reason.
pub(super) struct Wanted {
    pub(super) record: String,
    pub(super) why: String,
}

/// Columns with the messages of a gate, in the order the gates run.
const MESSAGES: [(&str, &str); 6] = [
    ("apply", schema::APPLY_ERRORS),
    ("policy", schema::POLICY_ERRORS),
    ("safety", schema::SAFETY_ERRORS),
    ("schema before", schema::SCHEMA_BEFORE_ERRORS),
    ("schema", schema::SCHEMA_ERRORS),
    ("rescan", schema::RESCAN_ERRORS),
];

/// Name and column of the facts of an example.
const FACTS: [(&str, &str); 9] = [
    ("record", schema::RECORD_ID),
    ("policy", schema::POLICY_ID),
    ("manifest", schema::MANIFEST_PATH),
    ("kind", schema::KIND),
    ("namespace", schema::NAMESPACE),
    ("name", schema::NAME),
    ("status", schema::STATUS),
    ("fault", schema::FAULT),
    ("error", schema::ERROR_KIND),
];

/// The wanted records, in this order.
pub(super) fn examples(run: &Run, wanted: &[Wanted]) -> Result<Vec<Example>, AnalysisError> {
    let ids: Vec<&str> = wanted.iter().map(|wanted| wanted.record.as_str()).collect();
    let Some(filter) = one_of(schema::RECORD_ID, &ids) else { return Ok(vec![]) };
    let columns = FACTS.iter().chain(&MESSAGES).map(|(_, column)| *column);
    let columns =
        columns.chain([schema::POSITION, schema::PATCH, schema::PATCHED_YAML, schema::ERRORS]).map(col);
    let rows = run.results.frame().filter(filter).select(columns.collect::<Vec<_>>()).collect()?;
    let corpus = run.file.as_ref().map(|(folder, _)| folder.join(CORPUS_FILE)).filter(|path| path.is_file());
    let corpus = corpus.map(|path| CorpusReader::open(&path));
    let mut examples = vec![];
    for wanted in wanted {
        let found = rows.column(schema::RECORD_ID)?.str()?.iter().position(|id| id == Some(&wanted.record));
        let Some(row) = found else { continue };
        let position = rows.column(schema::POSITION)?.u64()?.get(row).unwrap_or_default();
        let read = match &corpus {
            None => Ok(None),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(corpus)) => original(corpus, position, &wanted.record).map_err(|error| error.to_string()),
        };
        let (text, trouble) = match read {
            Ok(text) => (text, None),
            Err(trouble) => (None, Some(trouble)),
        };
        let mut example = example(&rows, row, wanted, text.as_deref())?;
        // If the run's copy of the corpus is damaged, the example shows the error instead of the document.
        example.facts.extend(trouble.map(|trouble| ("document".to_owned(), trouble)));
        examples.push(example);
    }
    Ok(examples)
}

fn example(
    rows: &DataFrame,
    row: usize,
    wanted: &Wanted,
    original: Option<&str>,
) -> Result<Example, AnalysisError> {
    let text = |column: &str| Ok::<_, PolarsError>(rows.column(column)?.str()?.get(row).map(str::to_owned));
    let mut facts = vec![];
    for (name, column) in FACTS {
        if let Some(value) = text(column)?.filter(|value| !value.is_empty()) {
            facts.push((name.to_owned(), value));
        }
    }
    let mut hidden = Hidden::default();
    let patch = text(schema::PATCH)?;
    let document = document(original, patch.as_deref(), text(schema::PATCHED_YAML)?.as_deref(), &mut hidden);
    let patch = patch.and_then(|patch| {
        let mut value: Value = serde_json::from_str(&patch).ok()?;
        sensitive::replace(&mut value, usize::MAX, &mut |secret| hidden.take(secret));
        Some(cut(&hidden.scrub(&format!("{value:#}")), PATCH))
    });
    let mut messages = vec![];
    for (gate, column) in MESSAGES {
        let of = list(rows, column, row)?;
        messages
            .extend(of.into_iter().map(|message| (gate.to_owned(), cut(&hidden.scrub(&message), MESSAGE))));
    }
    if messages.is_empty() {
        let of = list(rows, schema::ERRORS, row)?;
        messages.extend(of.into_iter().map(|message| (String::new(), cut(&hidden.scrub(&message), MESSAGE))));
    }
    Ok(Example { title: wanted.why.clone(), facts, messages, patch, document })
}

fn list(rows: &DataFrame, column: &str, row: usize) -> PolarsResult<Vec<String>> {
    match rows.column(column)?.list()?.get_as_series(row) {
        None => Ok(vec![]),
        Some(series) => Ok(series.str()?.iter().flatten().map(str::to_owned).collect()),
    }
}

/// The secrets of an example; they are replaced by numbered placeholders.
#[derive(Debug, Default)]
struct Hidden(Vec<String>);

impl Hidden {
    /// The placeholder of a secret; equal secrets have equal placeholders.
    fn take(&mut self, secret: &str) -> String {
        let known = self.0.iter().position(|known| known == secret);
        let place = known.unwrap_or_else(|| {
            self.0.push(secret.to_owned());
            self.0.len() - 1
        });
        format!("(secret {})", place + 1)
    }

    /// Replaces secrets quoted in a text. Secrets of one or two characters are kept: they would match parts of words.
    fn scrub(&self, text: &str) -> String {
        let mut longest: Vec<_> = self.0.iter().enumerate().filter(|(_, secret)| secret.len() > 2).collect();
        longest.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.len()));
        longest.iter().fold(text.to_owned(), |text, (place, secret)| {
            text.replace(secret.as_str(), &format!("(secret {})", place + 1))
        })
    }
}

/// The effect of the patch, without the secrets of either side. Both sides are written by the same emitter, so that
/// they differ only by the patch. A document that is not valid YAML, or to which the patch does not apply, is shown
/// unchanged.
fn document(
    original: Option<&str>,
    patch: Option<&str>,
    patched: Option<&str>,
    hidden: &mut Hidden,
) -> Option<Document> {
    let original = original?;
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).ok();
    let mut shown = |mut value: Value| -> Option<String> {
        sensitive::replace(&mut value, usize::MAX, &mut |secret| hidden.take(secret));
        serde_saphyr::to_string(&value).ok()
    };
    let value = read(original);
    let before = value.clone().and_then(&mut shown);
    let after = value.and_then(|mut value| {
        if let Some(patched) = patched {
            return shown(read(patched)?);
        }
        let patch: json_patch::Patch = serde_json::from_str(patch?).ok()?;
        json_patch::patch(&mut value, &patch).ok()?;
        shown(value)
    });
    let original = match &before {
        Some(before) if !hidden.0.is_empty() => before.clone(),
        // The original text, with its secrets replaced.
        _ => sensitive::replace_in_text(original, &mut |secret| hidden.take(secret)),
    };
    Some(match before.zip(after) {
        Some((before, after)) => {
            let diff = TextDiff::from_lines(&before, &after);
            let text = diff.unified_diff().context_radius(4).header("document", "patched").to_string();
            if text.is_empty() {
                Document::Plain(cut(&original, DOCUMENT))
            } else {
                Document::Diff(cut(&text, DOCUMENT))
            }
        }
        None => Document::Plain(cut(&original, DOCUMENT)),
    })
}

/// The document of a record, from the run's copy of its corpus; `None` if that has another record at this position.
fn original(corpus: &CorpusReader, position: u64, record: &str) -> Result<Option<Arc<str>>, FileError> {
    let slice = corpus.slice(position, 1)?;
    let ours = slice.records.first().is_some_and(|found| found.id.as_str() == record);
    Ok(slice.documents.into_iter().next().filter(|_| ours).map(|document| document.text))
}

fn one_of(column: &str, words: &[&str]) -> Option<Expr> {
    words.iter().map(|word| col(column).eq(lit((*word).to_owned()))).reduce(Expr::or)
}

/// Cuts a text to `most` characters, and appends the number of those left out.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}\n… ({} more letters)", text.chars().count() - most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_shows_as_a_diff_of_what_it_changes() {
        let patch = r#"[{"op":"replace","path":"/spec/x","value":2}]"#;
        let Some(Document::Diff(diff)) =
            document(Some("kind: Pod\nspec: {x: 1, y: 3}\n"), Some(patch), None, &mut Hidden::default())
        else {
            panic!("no diff");
        };
        assert!(diff.contains("-  x: 1\n+  x: 2\n") && !diff.contains("+  y"), "{diff}");
    }

    fn show(original: Option<&str>, patch: Option<&str>) -> Option<Document> {
        document(original, patch, None, &mut Hidden::default())
    }

    #[test]
    fn secrets_are_not_shown() {
        let yaml = "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - {name: DB_PASSWORD, value: hunter2}\n";
        let patch =
            r#"[{"op":"add","path":"/spec/containers/0/env/-","value":{"name":"TOKEN","value":"hunter2"}}]"#;
        let mut hidden = Hidden::default();
        let Some(Document::Diff(diff)) = document(Some(yaml), Some(patch), None, &mut hidden) else {
            panic!("no diff");
        };
        assert!(!diff.contains("hunter2") && diff.contains("value: (secret 1)"), "{diff}");
        assert_eq!(hidden.scrub("hunter2 is no number"), "(secret 1) is no number");
        let twice = yaml
            .replace("hunter2", "hunter-2-hunter")
            .replace("name: a\n", "name: a\n    args: [is hunter-2-hunter]\n");
        let Some(Document::Plain(shown)) = show(Some(&twice), None) else { panic!("{twice}") };
        assert!(!shown.contains("hunter-2") && shown.contains("is (secret 1)"), "{shown}");
        let Some(Document::Plain(broken)) = show(Some("a: [\npassword: hunter2\n"), None) else {
            panic!("{yaml}")
        };
        assert_eq!(broken, "a: [\npassword: (secret 1)\n");
    }

    #[test]
    fn what_does_not_apply_is_shown_as_it_is() {
        let plain = |text: &str| Some(Document::Plain(text.to_owned()));
        let patch = r#"[{"op":"remove","path":"/none"}]"#;
        assert_eq!(show(Some("a: 1\n"), Some(patch)), plain("a: 1\n"));
        assert_eq!(show(Some("a: [\n"), Some(patch)), plain("a: [\n"));
        assert_eq!(show(Some("a: 1\n"), None), plain("a: 1\n"));
        assert_eq!(show(None, Some(patch)), None);
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö\n… (1 more letters)");
    }
}
