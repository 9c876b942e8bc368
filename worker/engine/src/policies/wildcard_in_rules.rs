//! `wildcard_in_rules`: roles grant what they name.
//!
//! # What it checks
//! Rules of a `Role` or `ClusterRole` with `*` among their resources or verbs (kube-linter `wildcard-in-rules`).
//!
//! # Why
//! A wildcard grants what exists today and what the next version or operator adds (CIS Kubernetes Benchmark 5.1.3).
//!
//! # Repair
//! None: which resources and verbs are needed, no manifest says.
//!
//! # Example
//! ```yaml
//! rules: [{resources: ["*"], verbs: [get]}]      # found
//! rules: [{resources: [pods], verbs: [get]}]     # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct WildcardInRules;

/// The wildcards of the rules: where, and in which list.
fn wildcards(view: &View<'_>) -> Vec<(Pointer, &'static str)> {
    if !matches!(view.kind(), "Role" | "ClusterRole") {
        return Vec::new();
    }
    let rules = view.value.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate();
    let of_rule = |(at, rule): (usize, &Value)| {
        [("resources", "resource"), ("verbs", "verb")]
            .into_iter()
            .flat_map(move |(key, word)| {
                let place = Pointer::of(["rules"]).index(at).child(key);
                let items = rule.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let wild = items.iter().enumerate().filter(|(_, item)| item.as_str() == Some("*"));
                let wild: Vec<usize> = wild.map(|(index, _)| index).collect();
                wild.into_iter().map(move |index| (place.index(index), word))
            })
            .collect::<Vec<_>>()
    };
    rules.flat_map(of_rule).collect()
}

impl Reviewed for WildcardInRules {
    const ID: PolicyId = PolicyId::WildcardInRules;

    const CHECK: &'static Check = &Check {
        id: "wildcard-in-rules",
        severity: Severity::Error,
        remedy: "Name the resources and verbs that are needed.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = |word| format!("wildcard \"*\" in {word} specification");
        wildcards(view).into_iter().map(|(place, word)| (place, message(word))).collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say which resources and verbs the subjects of the role need, and name these in place of *".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&WildcardInRules);
    }

    #[test]
    fn wildcards_of_resources_and_verbs_are_found() {
        let role = |kind: &str, rules: &str| {
            document(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r}}\nrules: {rules}"
            ))
        };
        let rules = "[{apiGroups: ['*'], resources: [pods, '*'], verbs: ['*']}, {nonResourceURLs: ['*'], verbs: [get]}]";
        for kind in ["Role", "ClusterRole"] {
            assert_eq!(
                messages(&WildcardInRules, &role(kind, rules)),
                ["wildcard \"*\" in resource specification", "wildcard \"*\" in verb specification"]
            );
        }
        assert_eq!(messages(&WildcardInRules, &role("RoleBinding", rules)), Vec::<String>::new());
    }
}
