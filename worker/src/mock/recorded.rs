//! Patches that a model gave once, found again by the question.
//!
//! *Invariant*: an answer tells no more of a secret than its question does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use dataset::file_error::FileError;
use dataset::json::{Detections, Elements};
use domain::config::Limits;
use domain::ids::AnswerKey;
use domain::patch::Patch;
use domain::policy::PolicyName;
use domain::published;
use engine::document::Document;
use engine::propose::mask::{MaskError, Masked};
use engine::propose::prompt;
use serde_json::{Value, json};

use super::asked::Asked;

/// Texts of a patch that are looked at for secrets, at most.
const MOST_TEXTS: usize = 64;

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordedError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Patches and detections have nothing in common.
    #[error("no patch of {patches} has a detection with a document in {detections}")]
    Nothing {
        /// The patches file.
        patches: String,
        /// The detections file.
        detections: String,
    },
}

/// One recorded answer.
#[derive(Debug)]
struct Entry {
    document: Arc<str>,
    sentence: String,
    patch: Value,
}

/// Recorded answers by their questions.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    entries: HashMap<AnswerKey, Vec<Entry>>,
    /// Patches that can be asked for.
    pub(crate) patches: usize,
    /// Patches whose question has another one already: they can never be the answer.
    pub(crate) shadowed: usize,
    /// Patches without a detection that has a document.
    pub(crate) without_document: usize,
}

impl Recorded {
    /// Reads published patches, and the detections that they belong to.
    pub(crate) fn open(patches: &Path, detections: &Path) -> Result<Self, RecordedError> {
        let (patches, detections) = (patches.display().to_string(), detections.display().to_string());
        let limits = Limits::default();
        let mut by_id = HashMap::new();
        let mut elements = Elements::open(&patches, &limits)?;
        while let Some(element) = elements.next_element::<published::Patch>()? {
            if let Ok(patch) = element.content {
                by_id.insert(patch.id, patch.patch);
            }
        }
        let mut recorded = Self::default();
        let mut documents: HashMap<String, Arc<str>> = HashMap::new();
        for entry in Detections::open(&detections, &limits)? {
            let Ok(detection) = entry?.content else { continue };
            let (Some(yaml), Some(patch)) = (&detection.manifest_yaml, by_id.get(&detection.id)) else {
                continue;
            };
            let text = documents.entry(yaml.clone()).or_insert_with(|| Arc::from(yaml.as_str())).clone();
            if recorded.take(text, &detection, patch.clone()) {
                by_id.remove(&detection.id);
            }
        }
        recorded.without_document = by_id.len();
        if recorded.patches == 0 {
            return Err(RecordedError::Nothing { patches, detections });
        }
        Ok(recorded)
    }

    /// Takes one record; `false` when its document cannot be read.
    fn take(&mut self, text: Arc<str>, detection: &published::Detection, patch: Value) -> bool {
        let Ok(document) = Document::parse(&text, &Limits::default()) else { return false };
        // The question that we would ask, read as the one that will be asked is read.
        let masked = Masked::new(&document.value, 4096);
        let policy = PolicyName::normalise(&detection.policy_id);
        let question = prompt::opening(&masked, &policy, &detection.violation_text, usize::MAX);
        let asked = question.ok().and_then(|opening| Asked::read(&opening.messages.get(1)?.content));
        let Some(asked) = asked else { return false };
        self.patches += 1;
        let entry = Entry { document: text, sentence: asked.sentence(), patch };
        let known = self.entries.entry(asked.key()).or_default();
        let same =
            known.iter().find(|known| known.document == entry.document && known.sentence == entry.sentence);
        match same {
            Some(same) => self.shadowed += usize::from(same.patch != entry.patch),
            None => known.push(entry),
        }
        true
    }

    /// The recorded answer to a question.
    pub(crate) fn answer(&self, question: &str) -> Option<String> {
        let asked = Asked::read(question)?;
        let sentence = asked.sentence();
        let mut fitting = None;
        for entry in self.entries.get(&asked.key())? {
            let same = entry.sentence == sentence;
            if (same || fitting.is_none())
                && let Some(shown) = shown(entry, &asked)
            {
                fitting = Some((entry, shown));
                if same {
                    break;
                }
            }
        }
        let (entry, (original, masked)) = fitting?;
        let patch = without_secrets(&entry.patch, &original, &masked);
        Some(json!({"patch": patch}).to_string())
    }
}

/// The document of an entry, and the same as the question shows it; `None` when the question is about another one.
fn shown(entry: &Entry, asked: &Asked) -> Option<(Value, Masked)> {
    let original = Document::parse(&entry.document, &Limits::default()).ok()?.value;
    // What was left out for its length is longer than all that was not.
    let mut longest = 0;
    pairs(&original, &asked.document, &mut |text, shown| {
        if !asked.is_token(shown) {
            longest = longest.max(text.len());
        }
    });
    let masked = Masked::new(&original, longest);
    (masked.value == asked.document).then_some((original, masked))
}

/// Calls `visit` with every text of `a` and its counterpart in `b`.
fn pairs(a: &Value, b: &Value, visit: &mut impl FnMut(&str, &str)) {
    match (a, b) {
        (Value::String(a), Value::String(b)) => visit(a, b),
        (Value::Array(a), Value::Array(b)) => {
            for (a, b) in a.iter().zip(b) {
                pairs(a, b, visit);
            }
        }
        (Value::Object(a), Value::Object(b)) => {
            for (key, a) in a {
                if let Some(b) = b.get(key) {
                    pairs(a, b, visit);
                }
            }
        }
        _ => {}
    }
}

/// The patch as a model could have given it that was shown the masked document: a masked text that the patch repeats
/// where it stood is repeated as its token. Elsewhere the same text is a coincidence (a name, a number), and stays.
fn without_secrets(patch: &Value, original: &Value, masked: &Masked) -> Value {
    let mut tokens = BTreeMap::new();
    pairs(original, &masked.value, &mut |text, shown| {
        if text != shown {
            tokens.insert(text.to_owned(), shown.to_owned());
        }
    });
    let mut chosen = BTreeSet::new();
    let (_, texts) = replaced(patch, &tokens, &chosen);
    for index in 0..texts.min(MOST_TEXTS) {
        chosen.insert(index);
        let (candidate, _) = replaced(patch, &tokens, &chosen);
        let restored = serde_json::from_value::<Patch>(candidate).map(|patch| masked.restore(&patch));
        if matches!(restored, Ok(Err(MaskError::Moved { .. } | MaskError::Unknown(_)))) {
            chosen.remove(&index);
        }
    }
    replaced(patch, &tokens, &chosen).0
}

/// The patch with the `chosen` ones of its masked texts replaced, and how many it has.
fn replaced(patch: &Value, tokens: &BTreeMap<String, String>, chosen: &BTreeSet<usize>) -> (Value, usize) {
    let mut patch = patch.clone();
    let mut texts = 0;
    for op in patch.as_array_mut().into_iter().flatten() {
        if let Some(value) = op.get_mut("value") {
            replace(value, tokens, chosen, &mut texts);
        }
    }
    (patch, texts)
}

fn replace(
    value: &mut Value,
    tokens: &BTreeMap<String, String>,
    chosen: &BTreeSet<usize>,
    texts: &mut usize,
) {
    match value {
        Value::String(text) => {
            if let Some(token) = tokens.get(text) {
                if chosen.contains(texts) {
                    text.clone_from(token);
                }
                *texts += 1;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, tokens, chosen, texts)),
        Value::Object(entries) => {
            entries.values_mut().for_each(|entry| replace(entry, tokens, chosen, texts));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: hunter2
    image: nginx
    args: [--db-password=hunter2]
    env: [{name: DB_PASSWORD, value: hunter2}, {name: NOTE, value: LONG}]
";

    fn detection(policy: &str, violation: &str, yaml: &str) -> published::Detection {
        published::Detection {
            id: "1".to_owned(),
            manifest_path: None,
            manifest_yaml: Some(yaml.to_owned()),
            policy_id: policy.to_owned(),
            violation_text: violation.to_owned(),
        }
    }

    fn question(detection: &published::Detection, longest: usize) -> (String, Masked) {
        let yaml = detection.manifest_yaml.as_deref().unwrap();
        let document = Document::parse(yaml, &Limits::default()).unwrap();
        let masked = Masked::new(&document.value, longest);
        let policy = PolicyName::normalise(&detection.policy_id);
        let messages =
            prompt::opening(&masked, &policy, &detection.violation_text, usize::MAX).unwrap().messages;
        (messages[1].content.clone(), masked)
    }

    fn take(recorded: &mut Recorded, detection: &published::Detection, patch: Value) {
        let text = Arc::from(detection.manifest_yaml.as_deref().unwrap());
        assert!(recorded.take(text, detection, patch));
    }

    #[test]
    fn records_of_one_document_are_told_apart_by_their_violation() {
        let mut recorded = Recorded::default();
        let (cpu, memory) = (detection("unset-cpu", "no cpu", POD), detection("unset-cpu", "no memory", POD));
        take(&mut recorded, &cpu, json!([{"op": "remove", "path": "/a"}]));
        take(&mut recorded, &memory, json!([{"op": "remove", "path": "/b"}]));
        take(&mut recorded, &memory, json!([{"op": "remove", "path": "/c"}]));
        assert_eq!((recorded.patches, recorded.shadowed), (3, 1));
        let answer = |detection: &published::Detection| recorded.answer(&question(detection, 4096).0);
        assert!(answer(&cpu).unwrap().contains("/a"));
        assert!(answer(&memory).unwrap().contains("/b"));
        assert!(answer(&detection("unset-cpu", "something else", POD)).unwrap().contains("/a"));
        assert_eq!(answer(&detection("latest-tag", "no cpu", POD)), None);
        assert_eq!(answer(&detection("unset-cpu", "no cpu", &POD.replace("web", "wep"))), None);
        assert_eq!(recorded.answer("Say OK."), None);
    }

    #[test]
    fn a_secret_is_repeated_as_its_token_and_only_where_it_stood() {
        let yaml = POD.replace("LONG", &"word ".repeat(200));
        let detection = detection("env-var-secret", "DB_PASSWORD holds hunter2", &yaml);
        let patch = json!([
            {"op": "test", "path": "/spec/containers/0/env/0/value", "value": "hunter2"},
            {"op": "replace", "path": "/spec/containers/0/env/0", "value": {"name": "DB_PASSWORD", "value": "hunter2"}},
            {"op": "replace", "path": "/spec/containers/0/args/0", "value": "--db-password=hunter2"},
            {"op": "add", "path": "/spec/containers/0/name", "value": "hunter2"},
        ]);
        let mut recorded = Recorded::default();
        take(&mut recorded, &detection, patch.clone());
        for longest in [4096, 300] {
            let (question, masked) = question(&detection, longest);
            let answer = recorded.answer(&question).unwrap();
            let given = engine::propose::parse::parse(&answer).unwrap();
            let shown = serde_json::to_value(&given).unwrap();
            assert_eq!(shown[1]["value"]["value"], format!("{}1", masked.prefix()), "{answer}");
            assert_eq!(answer.matches("hunter2").count(), 1, "the container's name is no secret: {answer}");
            let restored = masked.restore(&given).unwrap();
            assert_eq!(serde_json::to_value(restored).unwrap(), patch, "it survives");
        }
    }

    /// Every record of the published run, asked as a run asks.
    #[test]
    fn the_published_run_can_be_asked_for() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/grok_5k_dev");
        let (patches, detections) = (folder.join("patches.json.gz"), folder.join("detections.json.gz"));
        if !patches.is_file() {
            println!("skipped: no ../shared/corpus");
            return;
        }
        let recorded = Recorded::open(&patches, &detections).unwrap();
        assert_eq!((recorded.patches, recorded.without_document), (2462, 0));
        assert!(recorded.shadowed <= 1, "{}", recorded.shadowed);
        let (mut masked_documents, mut restored, mut repeats) = (0, 0, 0);
        for entry in Detections::open(&detections.display().to_string(), &Limits::default()).unwrap() {
            let detection = entry.unwrap().content.unwrap();
            for longest in [4096, 256] {
                let (question, masked) = question(&detection, longest);
                let answer =
                    recorded.answer(&question).unwrap_or_else(|| panic!("nothing for {}", detection.id));
                let patch = engine::propose::parse::parse(&answer).unwrap();
                match masked.restore(&patch) {
                    Ok(_) => restored += 1,
                    Err(error) => println!("{}: {error}", detection.id),
                }
                masked_documents += usize::from(!masked.is_empty());
                repeats += usize::from(answer.contains(masked.prefix()));
            }
        }
        println!("{masked_documents} masked, {restored} of {} restored, {repeats} repeat a token", 2 * 2462);
        assert!(restored * 100 >= 2 * 2462 * 99, "{restored}");
    }
}
