//! One outcome ↔ its entries in the published files, and the difference that no column carries.

use std::sync::Arc;

use domain::outcome::{Fault, GateResult, Gates, ModelUsage, Outcome, Proposal, Status, Timing, Verdict};
use domain::patch::Patch;
use domain::record::{Record, SourceDocument};
use serde_json::{Map, Value, json};

/// What the column `worker` of an imported row holds.
pub const IMPORT: &str = "import";

pub(super) type Entry = Map<String, Value>;

/// The entries of one record; `None` where a file has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entries {
    pub(super) detection: Option<Entry>,
    pub(super) patch: Option<Entry>,
    pub(super) verified: Option<Entry>,
}

impl Entries {
    /// What the columns of `outcome` give.
    pub(super) fn of(record: &Record, text: &str, outcome: &Outcome) -> Self {
        Self {
            detection: Some(detection(record, text)),
            patch: outcome.proposal.as_ref().map(|proposal| patch(outcome, proposal)),
            verified: Some(verified(outcome)),
        }
    }

    /// The difference that leads from these entries to `actual`; `None` when there is none.
    pub(super) fn difference(&self, actual: &Self) -> Option<String> {
        let mut whole = Map::new();
        for (name, own, actual) in [
            ("detection", &self.detection, &actual.detection),
            ("patch", &self.patch, &actual.patch),
            ("verified", &self.verified, &actual.verified),
        ] {
            if let Some(difference) = difference(own.as_ref(), actual.as_ref()) {
                whole.insert(name.to_owned(), difference);
            }
        }
        (!whole.is_empty()).then(|| Value::Object(whole).to_string())
    }

    /// These entries with the difference of [`Self::difference`] applied. Fails on a difference of another form.
    pub(super) fn apply(mut self, difference: &str) -> Result<Self, String> {
        let whole: Map<String, Value> =
            serde_json::from_str(difference).map_err(|error| error.to_string())?;
        for (name, change) in whole {
            let entry = match name.as_str() {
                "detection" => &mut self.detection,
                "patch" => &mut self.patch,
                "verified" => &mut self.verified,
                _ => return Err(format!("unknown file {name:?}")),
            };
            apply(entry, change)?;
        }
        Ok(self)
    }
}

fn difference(own: Option<&Entry>, actual: Option<&Entry>) -> Option<Value> {
    if own == actual {
        return None;
    }
    let Some(actual) = actual else { return Some(Value::Null) };
    let empty = Entry::new();
    let own = own.unwrap_or(&empty);
    let set: Entry = actual
        .iter()
        .filter(|(key, value)| own.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let drop: Vec<&String> = own.keys().filter(|key| !actual.contains_key(*key)).collect();
    Some(json!({ "set": set, "drop": drop }))
}

fn apply(entry: &mut Option<Entry>, change: Value) -> Result<(), String> {
    let Value::Object(mut change) = change else {
        *entry = None;
        return Ok(());
    };
    let entry = entry.get_or_insert_default();
    if let Some(Value::Array(keys)) = change.remove("drop") {
        for key in keys.iter().filter_map(Value::as_str) {
            entry.remove(key);
        }
    }
    match change.remove("set") {
        Some(Value::Object(set)) => entry.extend(set),
        _ => return Err("a difference without 'set'".to_owned()),
    }
    Ok(())
}

fn detection(record: &Record, text: &str) -> Entry {
    let mut entry = Entry::new();
    entry.insert("id".to_owned(), record.id.as_str().into());
    if !record.manifest_path.is_empty() {
        entry.insert("manifest_path".to_owned(), record.manifest_path.as_str().into());
    }
    entry.insert("manifest_yaml".to_owned(), text.into());
    entry.insert("policy_id".to_owned(), record.raw_policy_id.as_str().into());
    entry.insert("violation_text".to_owned(), record.violation_text.as_str().into());
    entry
}

fn patch(outcome: &Outcome, proposal: &Proposal) -> Entry {
    let mut entry = Entry::new();
    entry.insert("id".to_owned(), outcome.record_id.as_str().into());
    entry.insert("policy_id".to_owned(), outcome.policy_id.as_str().into());
    entry.insert("source".to_owned(), outcome.source.as_str().into());
    entry.insert("hardened".to_owned(), proposal.hardened.into());
    entry.insert("patch".to_owned(), serde_json::to_value(&proposal.patch).unwrap_or_default());
    let total = outcome.timing.propose_ms;
    number(&mut entry, "latency_ms", outcome.timing.llm_ms.or(total));
    number(&mut entry, "total_latency_ms", total);
    if let Some(usage) = usage(&outcome.usage) {
        entry.insert("model_usage".to_owned(), usage);
    }
    if !outcome.attempt_errors.is_empty() {
        entry.insert("attempt_errors".to_owned(), json!(outcome.attempt_errors));
    }
    entry
}

fn verified(outcome: &Outcome) -> Entry {
    let mut entry = Entry::new();
    entry.insert("id".to_owned(), outcome.record_id.as_str().into());
    entry.insert("policy_id".to_owned(), outcome.policy_id.as_str().into());
    entry.insert("accepted".to_owned(), outcome.accepted().into());
    for (key, gate) in [
        ("ok_schema", &outcome.gates.schema),
        ("ok_policy", &outcome.gates.policy),
        ("ok_safety", &outcome.gates.safety),
        ("ok_rescan", &outcome.gates.rescan),
    ] {
        match gate.verdict {
            Verdict::Passed => entry.insert(key.to_owned(), true.into()),
            Verdict::Failed => entry.insert(key.to_owned(), false.into()),
            Verdict::NotRun => None,
        };
    }
    entry.insert("patched_yaml".to_owned(), outcome.patched_yaml.as_deref().into());
    number(&mut entry, "latency_ms", outcome.timing.verify_ms);
    number(&mut entry, "kubectl_ms", outcome.timing.schema_ms);
    entry.insert("errors".to_owned(), json!(outcome.errors));
    entry
}

/// Published times are whole milliseconds.
fn number(entry: &mut Entry, key: &str, ms: Option<f64>) {
    if let Some(ms) = ms.filter(|ms| ms.is_finite() && (0.0..9e15).contains(ms)) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked the line before"
        )]
        entry.insert(key.to_owned(), (ms.round() as u64).into());
    }
}

fn usage(usage: &ModelUsage) -> Option<Value> {
    let mut entry = Entry::new();
    for (key, tokens) in [
        ("prompt_tokens", usage.prompt_tokens),
        ("completion_tokens", usage.completion_tokens),
        ("total_tokens", usage.total_tokens),
    ] {
        if let Some(tokens) = tokens {
            entry.insert(key.to_owned(), tokens.into());
        }
    }
    if let Some(tokens) = usage.reasoning_tokens {
        entry.insert("completion_tokens_details".to_owned(), json!({ "reasoning_tokens": tokens }));
    }
    (!entry.is_empty()).then(|| entry.into())
}

/// The outcome that published entries tell of. Its difference to them is in `published`.
pub(super) fn outcome(record: &Record, document: &SourceDocument, entries: &Entries) -> Outcome {
    let patch = entries.patch.as_ref();
    let verdict = entries.verified.as_ref();
    let source = text(patch, "source").unwrap_or_default();
    let rules = source == "rules";
    let accepted = flag(verdict, "accepted") == Some(true);
    let errors = texts(verdict, "errors");
    let gates = gates(verdict, accepted, &errors);
    let attempt_errors = texts(patch, "attempt_errors");
    let [kind, namespace, name] = identity(&document.text);
    let total_ms = milliseconds(patch, "total_latency_ms");
    let latency_ms = milliseconds(patch, "latency_ms");
    let mut outcome = Outcome {
        record_id: record.id.clone(),
        position: record.position,
        shard: domain::ids::ShardIndex(0),
        manifest_path: record.manifest_path.clone(),
        document: Some(document.hash),
        kind,
        namespace,
        name,
        policy_id: record.policy().as_str().to_owned(),
        raw_policy_id: record.raw_policy_id.clone(),
        guardrails: if rules || source.is_empty() { "paper" } else { "merge" }.to_owned(),
        mode: source.clone(),
        source,
        model: None,
        proposal: patch.and_then(proposal).map(Arc::new),
        attempts: if patch.is_some() {
            u32::try_from(attempt_errors.len()).unwrap_or(u32::MAX - 1) + 1
        } else {
            0
        },
        attempt_errors,
        status: if accepted { Status::Accepted } else { Status::Rejected },
        fault: fault(verdict, accepted, &gates, &errors),
        gates: Arc::new(gates),
        new_violations: Vec::new(),
        errors,
        patched_yaml: text(verdict, "patched_yaml").map(Into::into),
        usage: model_usage(patch),
        timing: Timing {
            propose_ms: if rules { total_ms.or(latency_ms) } else { total_ms },
            llm_ms: if rules { None } else { latency_ms },
            verify_ms: milliseconds(verdict, "latency_ms"),
            schema_ms: milliseconds(verdict, "kubectl_ms"),
            ..Timing::default()
        },
        worker: IMPORT.to_owned(),
        attempt: 1,
        error_kind: None,
        schema_depth: None,
        server: None,
        published: None,
        tool_rescans: std::collections::BTreeMap::new(),
    };
    outcome.published = Entries::of(record, &document.text, &outcome).difference(entries);
    outcome
}

fn proposal(entry: &Entry) -> Option<Proposal> {
    let found = entry.get("patch")?;
    let patch: Patch = serde_json::from_value(found.clone()).ok()?;
    let hardened = entry.get("hardened").and_then(Value::as_bool).unwrap_or(false);
    Some(Proposal { patch, hardened, ..Proposal::default() })
}

fn gates(verdict: Option<&Entry>, accepted: bool, errors: &[String]) -> Gates {
    if verdict.is_none() {
        return Gates::NOT_RUN;
    }
    let gate = |key: &str| match flag(verdict, key) {
        Some(true) => GateResult { verdict: Verdict::Passed, ..GateResult::NOT_RUN },
        Some(false) => GateResult { verdict: Verdict::Failed, ..GateResult::NOT_RUN },
        None => GateResult::NOT_RUN,
    };
    let (policy, schema, safety) = (gate("ok_policy"), gate("ok_schema"), gate("ok_safety"));
    let nothing_passed = [&policy, &schema, &safety].iter().all(|gate| gate.verdict != Verdict::Passed);
    let apply = if !accepted && nothing_passed {
        GateResult { verdict: Verdict::Failed, errors: errors.to_vec(), ms: None }
    } else {
        GateResult { verdict: Verdict::Passed, ..GateResult::NOT_RUN }
    };
    // The times of a gate and of the record share a column.
    let ms = milliseconds(verdict, "kubectl_ms").filter(|_| schema.verdict != Verdict::NotRun);
    let schema = GateResult { ms, ..schema };
    Gates { apply, policy, safety, schema, rescan: gate("ok_rescan"), ..Gates::NOT_RUN }
}

fn fault(verdict: Option<&Entry>, accepted: bool, gates: &Gates, errors: &[String]) -> Fault {
    /// What `kubectl` says when the cluster is the reason.
    const CLUSTER: &[&str] =
        &["(Forbidden)", "(AlreadyExists)", "(NotFound)", "retrieving current configuration", "connect"];
    let blames_cluster = |error: &String| CLUSTER.iter().any(|words| error.contains(words));
    if accepted {
        Fault::None
    } else if verdict.is_none() {
        Fault::Proposer
    } else if gates.schema.verdict == Verdict::Failed && errors.iter().any(blames_cluster) {
        Fault::Environment
    } else {
        Fault::Patch
    }
}

fn model_usage(patch: Option<&Entry>) -> ModelUsage {
    let usage = patch.and_then(|entry| entry.get("model_usage"));
    let tokens = |pointer: &str| usage.and_then(|usage| usage.pointer(pointer)).and_then(Value::as_u64);
    ModelUsage {
        prompt_tokens: tokens("/prompt_tokens"),
        completion_tokens: tokens("/completion_tokens"),
        reasoning_tokens: tokens("/completion_tokens_details/reasoning_tokens"),
        total_tokens: tokens("/total_tokens"),
        ..ModelUsage::default()
    }
}

fn text(entry: Option<&Entry>, key: &str) -> Option<String> {
    entry?.get(key)?.as_str().map(str::to_owned)
}

fn flag(entry: Option<&Entry>, key: &str) -> Option<bool> {
    entry?.get(key)?.as_bool()
}

fn texts(entry: Option<&Entry>, key: &str) -> Vec<String> {
    let items = entry.and_then(|entry| entry.get(key)).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn milliseconds(entry: Option<&Entry>, key: &str) -> Option<f64> {
    entry?.get(key)?.as_f64()
}

/// Kind, namespace and name as they stand on the lines of the document's first level and of its `metadata`.
fn identity(yaml: &str) -> [String; 3] {
    let mut found = [String::new(), String::new(), String::new()];
    let mut in_metadata = false;
    let mut indent = None;
    for line in yaml.lines() {
        let depth = line.len() - line.trim_start_matches(' ').len();
        let Some((key, value)) = line.trim_start_matches(' ').split_once(':') else { continue };
        let value = value.trim().trim_matches(|c| c == '"' || c == '\'');
        if depth == 0 {
            in_metadata = key == "metadata";
            indent = None;
            if key == "kind" {
                value.clone_into(&mut found[0]);
            }
        } else if in_metadata && *indent.get_or_insert(depth) == depth {
            match key {
                "namespace" => value.clone_into(&mut found[1]),
                "name" => value.clone_into(&mut found[2]),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_identity_off_the_lines() {
        let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    name: no\n  name: 'web'\n  namespace: prod\nspec:\n  name: no\n";
        assert_eq!(identity(yaml), ["Pod", "prod", "web"]);
        assert_eq!(identity("text"), ["", "", ""]);
    }

    #[test]
    fn a_difference_leads_from_one_to_the_other() {
        let entry = |text: &str| serde_json::from_str::<Option<Entry>>(text).unwrap();
        let texts = ["null", "{}", r#"{"a":1}"#, r#"{"a":null,"b":[1]}"#, r#"{"b":[1],"a":1.0}"#];
        for own in texts {
            for actual in texts {
                let from = Entries { patch: entry(own), ..Entries::default() };
                let to = Entries { patch: entry(actual), ..Entries::default() };
                let made = match from.difference(&to) {
                    Some(difference) => from.clone().apply(&difference).unwrap(),
                    None => from.clone(),
                };
                assert_eq!(made, to, "{own} → {actual}");
                assert_eq!(from.difference(&to).is_none(), own == actual);
            }
        }
        assert!(Entries::default().apply("{\"x\":1}").is_err());
        assert!(Entries::default().apply("{\"patch\":{}}").is_err());
    }
}
