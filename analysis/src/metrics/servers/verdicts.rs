//! The verdicts of a server as a public data set: one line for each distinct document and role.

use std::collections::BTreeMap;

use domain::api_server::ServerClass;
use serde::Serialize;
use serde_json::Value;

use super::answers::{Answer, Asked, Cause, Judged};
use crate::load::files::sha256;

/// A line of the data set. Keys without a value are left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// Of the document's text in UTF-8.
    pub(crate) sha256: String,
    /// `document`: of a record; `ours`: repaired, accepted by all gates; `ours_refused`: repaired, refused by one.
    pub(crate) role: &'static str,
    /// The first record that has it.
    pub(crate) id: String,
    /// How many records have it.
    pub(crate) records: u64,
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_version: Option<String>,
    pub(crate) class: String,
    /// HTTP status of the class; 0: not sent. Absent for classes of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
    /// The whole message where there are no causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Version of the server.
    pub(crate) server: String,
    /// `json`: the text is the repaired document as compact JSON, because results keep the YAML of accepted repairs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<&'static str>,
}

/// The lines of all documents whose text is known, in the order of the corpus, and the number of answers without a text.
/// `document` gives the text of a record's document before its repair.
pub(crate) fn verdicts(
    judged: &Judged,
    mut document: impl FnMut(&Asked) -> Option<String>,
) -> (Vec<Verdict>, u64) {
    let mut lines: Vec<Verdict> = vec![];
    let mut places: BTreeMap<(String, &'static str, String), usize> = BTreeMap::new();
    let mut unknown = 0;
    for asked in &judged.asked {
        let text = document(asked);
        let role = if asked.accepted { "ours" } else { "ours_refused" };
        let after = repaired(asked, text.as_deref());
        let before = text.map(|text| (text, None));
        for (role, answer, text) in [("document", &asked.before, before), (role, &asked.after, after)] {
            let Some(answer) = answer else { continue };
            let Some((text, form)) = text else {
                unknown += 1;
                continue;
            };
            let warnings = if role == "document" { vec![] } else { asked.warnings.clone() };
            let line = line(asked, role, answer, &text, form, warnings);
            let key = (line.sha256.clone(), role, line.server.clone());
            if let Some(known) = places.get(&key).and_then(|at| lines.get_mut(*at)) {
                known.records += 1;
            } else {
                places.insert(key, lines.len());
                lines.push(line);
            }
        }
    }
    (lines, unknown)
}

fn line(
    asked: &Asked,
    role: &'static str,
    answer: &Answer,
    text: &str,
    form: Option<&'static str>,
    warnings: Vec<String>,
) -> Verdict {
    // A refusal without causes is kept as one with the message alone.
    let (message, causes) = match answer.causes.as_slice() {
        [[field, reason, message]] if field.is_empty() && reason.is_empty() => {
            (Some(message.clone()), vec![])
        }
        causes => (None, causes.to_vec()),
    };
    Verdict {
        sha256: sha256(text.as_bytes()),
        role,
        id: asked.record.clone(),
        records: 1,
        kind: asked.kind.clone(),
        api_version: api_version(text),
        class: answer.class.clone(),
        code: ServerClass::parse(&answer.class).and_then(code),
        causes,
        message,
        warnings,
        server: asked.version.clone(),
        form,
    }
}

/// The repaired document: as results keep it, else the patch applied to the document, as JSON.
fn repaired(asked: &Asked, document: Option<&str>) -> Option<(String, Option<&'static str>)> {
    if let Some(text) = &asked.patched {
        return Some((text.clone(), None));
    }
    let mut value: Value = serde_saphyr::from_str(document?).ok()?;
    let patch: json_patch::Patch = serde_json::from_str(asked.patch.as_deref()?).ok()?;
    // A copied part may double the document with each operation.
    if patch.0.iter().any(|op| matches!(op, json_patch::PatchOperation::Copy(_))) {
        return None;
    }
    json_patch::patch(&mut value, &patch).ok()?;
    Some((value.to_string(), Some("json")))
}

fn api_version(text: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        api_version: Option<String>,
    }
    serde_saphyr::from_str::<Head>(text).ok()?.api_version
}

/// The HTTP status that a class stands for.
const fn code(class: ServerClass) -> Option<u16> {
    match class {
        ServerClass::Accepted => Some(201),
        ServerClass::Conflict => Some(409),
        ServerClass::Invalid => Some(422),
        ServerClass::StrictDecoding | ServerClass::Decode => Some(400),
        ServerClass::Unparsable | ServerClass::UnknownKind => Some(0),
        ServerClass::Namespace => Some(404),
        ServerClass::Environment | ServerClass::Other => None,
    }
}
