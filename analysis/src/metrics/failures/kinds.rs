//! Kinds of reasons: messages that differ only in names and numbers are one kind.

use std::collections::BTreeMap;

use domain::outcome::Fault;

use super::groups::{Example, Failure, Failures};

/// What stands for a name, a path or a number.
const FOLDED: &str = "…";

/// Records with one status, gate, fault, policy and kind of reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) count: u64,
    pub(crate) status: String,
    pub(crate) gate: String,
    pub(crate) fault: String,
    /// Canonical policy; `None`: of any, because the document was at fault whatever was looked for.
    pub(crate) policy: Option<String>,
    /// Kinds of their objects.
    pub(crate) objects: Vec<String>,
    /// The error of the processing, or the folded message.
    pub(crate) reason: String,
    pub(crate) example: Example,
}

impl Kind {
    /// Policy and reason.
    pub(crate) fn label(&self) -> String {
        match &self.policy {
            Some(policy) => format!("{policy}: {}", self.reason),
            None => format!("document: {}", self.reason),
        }
    }
}

impl Failures {
    /// The groups by policy and kind of reason, largest first, then in corpus order.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: BTreeMap<[String; 5], Kind> = BTreeMap::new();
        for failure in &self.groups {
            let kind = kind(failure);
            let policy = kind.policy.clone().unwrap_or_default();
            let key = [&kind.status, &kind.gate, &kind.fault, &policy, &kind.reason].map(Clone::clone);
            let Some(known) = kinds.get_mut(&key) else {
                kinds.insert(key, kind);
                continue;
            };
            known.count += kind.count;
            known.example = kind.example.min(known.example.clone());
            for object in kind.objects {
                if !known.objects.contains(&object) {
                    known.objects.push(object);
                }
            }
        }
        let mut kinds: Vec<Kind> = kinds.into_values().collect();
        kinds.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
        kinds
    }
}

fn kind(of: &Failure) -> Kind {
    let is_document = of.fault == Fault::Document.as_str();
    Kind {
        count: of.count,
        status: of.status.clone(),
        gate: of.gate.clone(),
        fault: of.fault.clone(),
        policy: (!is_document).then(|| of.policy.clone()),
        objects: if of.kind.is_empty() { vec![] } else { vec![of.kind.clone()] },
        reason: if of.error.is_empty() { folded(&of.reason) } else { of.error.replace('_', " ") },
        example: of.example.clone(),
    }
}

/// The first clause of a message, without names, paths and numbers.
pub(crate) fn folded(message: &str) -> String {
    let quoted = without_quoted(message);
    let clause = quoted.split("; ").next().unwrap_or_default();
    let mut words: Vec<String> = vec![];
    for word in clause.split_whitespace() {
        let word = folded_word(word);
        // Lists of names are one.
        let is_repeat = words.last().is_some_and(|last| bare(last) == FOLDED && bare(&word) == FOLDED);
        if is_repeat {
            words.pop();
        }
        words.push(word);
    }
    words.join(" ")
}

/// Without punctuation at its end.
fn bare(word: &str) -> &str {
    word.trim_end_matches([',', ':', '.'])
}

/// Folds what stands in quotes and leaves out what stands in brackets behind a space.
fn without_quoted(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        // A placeholder of a template.
        if let Some((_, after)) = rest.strip_prefix("{{").and_then(|inner| inner.split_once("}}")) {
            text.push_str(FOLDED);
            rest = after;
            continue;
        }
        let begins = text.is_empty() || text.ends_with([' ', '(', ':', '=']);
        let end = match c {
            '"' | '`' => Some(c),
            '\'' if begins => Some(c),
            '(' if begins && !text.is_empty() => Some(')'),
            _ => None,
        };
        let inner = rest.get(c.len_utf8()..).unwrap_or_default();
        let closed = end.and_then(|end| inner.split_once(end));
        match (closed, c) {
            (Some((_, after)), '(') => {
                text.truncate(text.trim_end().len());
                rest = after;
            }
            (Some((_, after)), _) => {
                text.push_str(FOLDED);
                rest = after;
            }
            (None, _) => {
                text.push(c);
                rest = inner;
            }
        }
    }
    text
}

fn folded_word(word: &str) -> String {
    let core = word.trim_end_matches([',', ':', '.', ')']);
    let tail = word.get(core.len()..).unwrap_or_default();
    let plain = without_indices(core);
    let is_name = plain.chars().any(|c| c.is_ascii_digit()) || plain.contains(['/', '@', '{', '$']);
    if is_name {
        return format!("{FOLDED}{tail}");
    }
    match plain.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => format!("{FOLDED}{tail}"),
        _ => format!("{plain}{tail}"),
    }
}

/// `containers[0].ports[1]` as `containers[].ports[]`.
fn without_indices(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let mut inside = false;
    for c in word.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if inside && c.is_ascii_digit() => continue,
            _ => {}
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_folded() {
        for (message, kind) in [
            (
                "spec.template.spec.containers[2].ports[0].name: Invalid value: \"8080\": must contain a letter (a-z)",
                "spec.template.spec.containers[].ports[].name: Invalid value: …: must contain a letter",
            ),
            (
                "the Service selects app=payments-mailer-31, which no pod carries; give the manifests",
                "the Service selects … which no pod carries",
            ),
            ("unrendered template: /spec/template/x holds {{ .Values.y }}", "unrendered template: … holds …"),
            ("container \"c0\" asks port `metrics`", "container … asks port …"),
            ("it's the document's fault", "it's the document's fault"),
            ("image nginx:1.25 and redis:7, postgres:16", "image … and …"),
            ("", ""),
            ("an \"open quote", "an \"open quote"),
        ] {
            assert_eq!(folded(message).replace("…,", "…"), kind, "{message}");
        }
    }

    fn failure(policy: &str, fault: &str, reason: &str, count: u64, position: u64) -> Failure {
        Failure {
            count,
            status: "rejected".to_owned(),
            gate: "schema".to_owned(),
            fault: fault.to_owned(),
            kind: format!("Kind{position}"),
            policy: policy.to_owned(),
            error: String::new(),
            reason: reason.to_owned(),
            example: Example {
                position,
                run_id: "r".to_owned(),
                record_id: position.to_string(),
                manifest_path: String::new(),
            },
        }
    }

    #[test]
    fn one_kind_is_counted_once_whatever_the_names() {
        let groups = vec![
            failure("a", "patch", "port \"x\" is gone", 2, 5),
            failure("a", "patch", "port \"y\" is gone", 3, 1),
            failure("b", "patch", "port \"y\" is gone", 4, 2),
            failure("a", "document", "metadata.name: Required value", 1, 3),
            failure("b", "document", "metadata.name: Required value", 1, 4),
        ];
        let kinds = Failures { records: 20, failed: 11, groups }.kinds();
        let seen: Vec<(u64, String)> = kinds.iter().map(|kind| (kind.count, kind.label())).collect();
        assert_eq!(
            seen,
            [
                (5, "a: port … is gone".to_owned()),
                (4, "b: port … is gone".to_owned()),
                (2, "document: metadata.name: Required value".to_owned()),
            ]
        );
        assert_eq!(kinds[0].example.record_id, "1");
        assert_eq!(kinds[0].objects.len(), 2);
    }
}
