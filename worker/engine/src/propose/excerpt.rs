//! The part of a long document that is relevant to a policy, as text.
//!
//! *Invariant*: every shown node has the same pointer as in the whole document: omitted parts are replaced by a note, not
//! removed from a list or a map. The patch applies to the whole document.

use domain::policy::PolicyId;
use serde_json::Value;

use crate::yaml::to_yaml;

/// What a note begins with.
const NOTE: &str = "LEFT_OUT";

/// Parts that may be left out where the policy is not about them. Large ones go first.
const EXPENDABLE: &[&str] = &[
    "affinity",
    "annotations",
    "args",
    "binaryData",
    "command",
    "data",
    "env",
    "envFrom",
    "lifecycle",
    "livenessProbe",
    "managedFields",
    "nodeSelector",
    "ports",
    "readinessProbe",
    "startupProbe",
    "status",
    "stringData",
    "tolerations",
    "topologySpreadConstraints",
    "volumeClaimTemplates",
    "volumeMounts",
    "volumes",
];

/// A document as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) text: String,
    /// What notes begin with: nothing in the document itself does.
    pub(super) mark: String,
    /// How many parts were left out.
    pub(super) left_out: usize,
}

/// Shows `value` in at most `limit` bytes, without what `policy` is not about where it is longer; `Err`: as short as it
/// gets.
pub(super) fn excerpt(value: &Value, policy: Option<PolicyId>, limit: usize) -> Result<Excerpt, usize> {
    let text = to_yaml(value);
    let mut mark = NOTE.to_owned();
    while text.contains(&mark) {
        mark.push('_');
    }
    if text.len() <= limit {
        return Ok(Excerpt { text, mark, left_out: 0 });
    }
    let mut parts = Vec::new();
    collect(value, "", needed(policy), &mut parts);
    parts.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    let (mut shown, mut left_out) = (value.clone(), 0);
    let mut shortest = text.len();
    for (pointer, bytes) in parts {
        // A part of what was left out already is gone.
        let Some(part) = shown.pointer_mut(&pointer) else { continue };
        *part = Value::String(format!("{mark}: {bytes} bytes"));
        left_out += 1;
        let text = to_yaml(&shown);
        shortest = text.len();
        if shortest <= limit {
            return Ok(Excerpt { text, mark, left_out });
        }
    }
    Err(shortest)
}

/// Expendable parts with their sizes.
fn collect(value: &Value, pointer: &str, needed: &[&str], parts: &mut Vec<(String, usize)>) {
    /// What is smaller than this is not worth a note.
    const SMALL: usize = 200;
    match value {
        Value::Object(entries) => {
            for (key, entry) in entries {
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                if EXPENDABLE.contains(&key.as_str()) && !needed.contains(&key.as_str()) {
                    let bytes = entry.to_string().len();
                    if bytes >= SMALL {
                        parts.push((pointer, bytes));
                    }
                } else {
                    collect(entry, &pointer, needed, parts);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{pointer}/{index}"), needed, parts);
            }
        }
        _ => {}
    }
}

/// Expendable parts that a policy is about.
fn needed(policy: Option<PolicyId>) -> &'static [&'static str] {
    use PolicyId as P;
    match policy {
        Some(P::EnvVarSecret) => &["env", "envFrom", "volumes", "volumeMounts"],
        Some(P::DuplicateEnvVar) => &["env"],
        Some(P::NoHostPath | P::ReadOnlyRootFs) => &["volumes", "volumeMounts"],
        Some(P::NoAntiAffinity) => &["affinity"],
        Some(
            P::LivenessPort
            | P::ReadinessPort
            | P::StartupPort
            | P::InvalidTargetPorts
            | P::SshPort
            | P::NoHostPorts,
        ) => &["ports", "livenessProbe", "readinessProbe", "startupProbe"],
        Some(P::DanglingService) => &["ports"],
        Some(P::NonExistentServiceAccount) => &["annotations"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::document;

    fn long() -> Value {
        json!({
            "kind": "Pod",
            "metadata": {"name": "web", "annotations": {"notes": "n".repeat(3000)}},
            "spec": {"containers": [
                {"name": "a", "image": "b", "env": [{"name": "A", "value": "v".repeat(1000)}]},
                {"name": "c", "image": "latest", "command": ["sh"]},
            ]},
        })
    }

    #[test]
    fn a_short_document_is_shown_whole() {
        let shown = excerpt(&long(), None, 10_000).unwrap();
        assert_eq!((shown.left_out, document(&shown.text).value), (0, long()));
    }

    #[test]
    fn large_parts_go_first_and_pointers_stay() {
        let shown = excerpt(&long(), None, 2000).unwrap();
        assert_eq!(shown.left_out, 1);
        let value = document(&shown.text).value;
        assert_eq!(value["metadata"]["annotations"], "LEFT_OUT: 3012 bytes");
        assert_eq!(value.pointer("/spec/containers/1/image").unwrap(), "latest");
        assert_eq!(excerpt(&long(), None, 800).unwrap().left_out, 2);
    }

    #[test]
    fn what_the_policy_is_about_stays() {
        let short = excerpt(&long(), Some(PolicyId::DuplicateEnvVar), 800).unwrap_err();
        assert!(short > 1000 && short < 2000, "{short}");
    }

    #[test]
    fn a_document_that_speaks_of_notes_gets_other_ones() {
        let mut value = long();
        value["metadata"]["name"] = json!("LEFT_OUT: 5 bytes");
        let shown = excerpt(&value, None, 2000).unwrap();
        assert_eq!(shown.mark, "LEFT_OUT_");
    }
}
