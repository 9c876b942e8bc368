//! Example records: the document, the effect of the patch, and the messages of the gates.
//!
//! *Invariant*: a report contains no secret of a manifest, because it is passed on.

use std::sync::Arc;

use results::corpus_copy::{CorpusReader, FileError};
use results::layout::CORPUS_FILE;
use results::schema;
use sensitive::{Masks, mask_text};
use serde_json::Value;
use similar::TextDiff;

use super::block::{Document, Example};
use super::run::Run;
use crate::load::AnalysisError;
use crate::load::rows::{Texts, rows};

/// Maximum length of a document or diff, of a patch, and of a message, in characters.
const DOCUMENT: usize = 6000;
const PATCH: usize = 4000;
const MESSAGE: usize = 600;

/// A record to show, and the reason.
pub(super) struct Wanted {
    pub(super) record: String,
    pub(super) why: String,
}

rows! {
    struct Row<'a> {
        record: &'a str = [schema::RECORD_ID],
        position: u64 = [schema::POSITION],
        policy: &'a str = [schema::POLICY_ID],
        manifest: &'a str = [schema::MANIFEST_PATH],
        kind: &'a str = [schema::KIND],
        namespace: &'a str = [schema::NAMESPACE],
        name: &'a str = [schema::NAME],
        status: &'a str = [schema::STATUS],
        fault: &'a str = [schema::FAULT],
        error: &'a str = [schema::ERROR_KIND],
        patch: Option<&'a str> = [schema::PATCH],
        patched: Option<&'a str> = [schema::PATCHED_YAML],
        errors: Texts<'a> = [schema::ERRORS],
        apply: Texts<'a> = [schema::APPLY_ERRORS],
        policy_errors: Texts<'a> = [schema::POLICY_ERRORS],
        safety: Texts<'a> = [schema::SAFETY_ERRORS],
        schema_before: Texts<'a> = [schema::SCHEMA_BEFORE_ERRORS],
        schema: Texts<'a> = [schema::SCHEMA_ERRORS],
        rescan: Texts<'a> = [schema::RESCAN_ERRORS],
    }
}

impl Row<'_> {
    /// The facts with a value, by name.
    fn facts(&self) -> Vec<(String, String)> {
        let facts = [
            ("record", self.record),
            ("policy", self.policy),
            ("manifest", self.manifest),
            ("kind", self.kind),
            ("namespace", self.namespace),
            ("name", self.name),
            ("status", self.status),
            ("fault", self.fault),
            ("error", self.error),
        ];
        let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
        known.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The messages by gate, in the order the gates run; without any, the errors of the record.
    fn messages(&self, masks: &Masks) -> Vec<(String, String)> {
        let of = |(gate, texts): (&str, &Texts<'_>)| -> Vec<(String, String)> {
            texts.iter().map(|text| (gate.to_owned(), cut(&mask_text(&masks.scrub(text)), MESSAGE))).collect()
        };
        let gates = [
            ("apply", &self.apply),
            ("policy", &self.policy_errors),
            ("safety", &self.safety),
            ("schema before", &self.schema_before),
            ("schema", &self.schema),
            ("rescan", &self.rescan),
        ];
        let messages: Vec<_> = gates.into_iter().flat_map(of).collect();
        if messages.is_empty() { of(("", &self.errors)) } else { messages }
    }
}

/// The wanted records, in this order.
pub(super) fn examples(run: &Run, wanted: &[Wanted]) -> Result<Vec<Example>, AnalysisError> {
    if wanted.is_empty() {
        return Ok(vec![]);
    }
    let corpus = run.file.as_ref().map(|(folder, _)| folder.join(CORPUS_FILE)).filter(|path| path.is_file());
    let corpus = corpus.map(|path| CorpusReader::open(&path));
    let mut found: Vec<Option<Example>> = wanted.iter().map(|_| None).collect();
    run.results.each::<Row>(|row| {
        for (wanted, found) in wanted.iter().zip(&mut found) {
            if wanted.record == row.record && found.is_none() {
                *found = Some(example(&row, wanted, corpus.as_ref()));
            }
        }
    })?;
    Ok(found.into_iter().flatten().collect())
}

fn example(row: &Row<'_>, wanted: &Wanted, corpus: Option<&Result<CorpusReader, FileError>>) -> Example {
    let read = match corpus {
        None => Ok(None),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(corpus)) => original(corpus, row.position, row.record).map_err(|error| error.to_string()),
    };
    // If the run's copy of the corpus is damaged, the example shows the error instead of the document.
    let (original, trouble) = match read {
        Ok(text) => (text, None),
        Err(trouble) => (None, Some(trouble)),
    };
    let value: Option<Value> = original.as_deref().and_then(|text| serde_saphyr::from_str(text).ok());
    let mut masks = Masks::default();
    let document = document(original.as_deref(), value.as_ref(), row.patch, row.patched, &mut masks);
    let patch = row.patch.and_then(|patch| {
        let mut patch: Value = serde_json::from_str(patch).ok()?;
        masks.mask_patch(&mut patch, value.as_ref().unwrap_or(&Value::Null));
        Some(cut(&format!("{patch:#}"), PATCH))
    });
    let mut facts = row.facts();
    facts.extend(trouble.map(|trouble| ("document".to_owned(), trouble)));
    Example { title: wanted.why.clone(), facts, messages: row.messages(&masks), patch, document }
}

/// The effect of the patch, without the secrets of either side. Both sides are written by the same emitter, so that
/// they differ only by the patch. A document that is not valid YAML (`value` is `None`), or to which the patch does not
/// apply, is shown unchanged.
pub(crate) fn document(
    original: Option<&str>,
    value: Option<&Value>,
    patch: Option<&str>,
    patched: Option<&str>,
    masks: &mut Masks,
) -> Option<Document> {
    let original = original?;
    let Some(value) = value else { return Some(Document::Plain(cut(&mask_text(original), DOCUMENT))) };
    let before;
    (*masks, before) = Masks::of(value, usize::MAX);
    let before = serde_saphyr::to_string(&before).ok();
    let after = match patched {
        // A run's own masks are those of its documents.
        Some(patched) => serde_saphyr::from_str(patched).ok(),
        None => patched_by(value, patch),
    };
    let after = after.and_then(|mut after| {
        masks.mask(&mut after);
        serde_saphyr::to_string(&after).ok()
    });
    let original = match &before {
        Some(before) if !masks.is_empty() => before.clone(),
        // The original text: comments may hold secrets that its values do not.
        _ => mask_text(original),
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

/// The document after the patch; `None`: there is none, or it does not apply.
fn patched_by(value: &Value, patch: Option<&str>) -> Option<Value> {
    let patch: json_patch::Patch = serde_json::from_str(patch?).ok()?;
    let mut value = value.clone();
    json_patch::patch(&mut value, &patch).ok()?;
    Some(value)
}

/// The document of a record, from the run's copy of its corpus; `None` if that has another record at this position.
fn original(corpus: &CorpusReader, position: u64, record: &str) -> Result<Option<Arc<str>>, FileError> {
    let slice = corpus.slice(position, 1)?;
    let ours = slice.records.first().is_some_and(|found| found.id.as_str() == record);
    Ok(slice.documents.into_iter().next().filter(|_| ours).map(|document| document.text))
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
        let Some(Document::Diff(diff)) = show(Some("kind: Pod\nspec: {x: 1, y: 3}\n"), Some(patch)) else {
            panic!("no diff");
        };
        assert!(diff.contains("-  x: 1\n+  x: 2\n") && !diff.contains("+  y"), "{diff}");
    }

    fn show(original: Option<&str>, patch: Option<&str>) -> Option<Document> {
        let value: Option<Value> = original.and_then(|text| serde_saphyr::from_str(text).ok());
        document(original, value.as_ref(), patch, None, &mut Masks::default())
    }

    #[test]
    fn secrets_are_not_shown() {
        let yaml = "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - {name: DB_PASSWORD, value: hunter2}\n";
        let patch =
            r#"[{"op":"add","path":"/spec/containers/0/env/-","value":{"name":"TOKEN","value":"hunter2"}}]"#;
        let Some(Document::Diff(diff)) = show(Some(yaml), Some(patch)) else { panic!("no diff") };
        assert!(!diff.contains("hunter2") && diff.contains("value: MASKED_1"), "{diff}");
        let twice = yaml
            .replace("hunter2", "hunter-2-hunter")
            .replace("name: a\n", "name: a\n    args: [is hunter-2-hunter]\n");
        let Some(Document::Plain(shown)) = show(Some(&twice), None) else { panic!("{twice}") };
        assert!(!shown.contains("hunter-2") && shown.contains("is MASKED_1"), "{shown}");
        let Some(Document::Plain(broken)) = show(Some("a: [\npassword: hunter2\n"), None) else {
            panic!("{yaml}")
        };
        assert_eq!(broken, "a: [\npassword: MASKED_1\n");
    }

    #[test]
    fn masked_results_are_compared_with_the_whole_document() {
        let yaml = "kind: Pod\nspec:\n  x: 1\n  password: hunter2\n";
        let patched = "kind: Pod\nspec:\n  x: 2\n  password: MASKED_1\n";
        let value: Value = serde_saphyr::from_str(yaml).unwrap();
        let shown = document(Some(yaml), Some(&value), None, Some(patched), &mut Masks::default());
        let Some(Document::Diff(diff)) = shown else { panic!("no diff") };
        assert!(diff.contains("-  x: 1\n+  x: 2\n") && !diff.contains("-  password"), "{diff}");
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
