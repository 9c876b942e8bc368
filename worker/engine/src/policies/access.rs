//! Shared by `access_to_secrets` and `access_to_create_pods`: what a binding grants by the role that it names.

use domain::pointer::Pointer;
use domain::record::reference::{Reference, RoleRule};
use serde_json::Value;

use super::message::quoted;
use crate::k8s::View;

/// What must not be granted.
pub(super) struct Access {
    /// Resources; a rule about all of them grants these too.
    pub(super) resources: &'static [&'static str],
    /// Verbs; none: any.
    pub(super) verbs: &'static [&'static str],
}

impl Access {
    /// What rules grant of it, as kube-linter prints it: `[get list] access to [secrets]`.
    fn granted_by(&self, rules: &[RoleRule]) -> Vec<String> {
        let granted = |rule: &RoleRule| {
            let resources = listed(&rule.resources, |name| self.resources.contains(&name))?;
            let verbs = listed(&rule.verbs, |name| self.verbs.is_empty() || self.verbs.contains(&name))?;
            Some(format!("[{verbs}] access to [{resources}]"))
        };
        rules.iter().filter_map(granted).collect()
    }
}

/// The names that are meant, or stand for all; `None` where there are none.
fn listed(names: &[String], is_meant: impl Fn(&str) -> bool) -> Option<String> {
    let meant = names.iter().map(String::as_str).filter(|name| *name == "*" || is_meant(name));
    let meant: Vec<&str> = meant.collect();
    (!meant.is_empty()).then(|| meant.join(" "))
}

/// What a binding grants: by its role, then by the roles that an aggregated one is put together of.
pub(super) fn violations(view: &View<'_>, access: &Access) -> Vec<(Pointer, String)> {
    if !matches!(view.kind(), "RoleBinding" | "ClusterRoleBinding") {
        return Vec::new();
    }
    let text = |place: &str| view.value.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let (wanted, wanted_kind) = (text("/roleRef/name"), text("/roleRef/kind"));
    let place = Pointer::of(["roleRef", "name"]);
    let message = |reference: &Reference| {
        let Reference::Role { kind, name, rules, .. } = reference else { return None };
        let granted = access.granted_by(rules);
        let word = if kind == "ClusterRole" { "clusterrole" } else { "role" };
        let is_named = name == wanted && kind == wanted_kind;
        let by = if is_named { "binding to" } else { "binding via aggregationRule to" };
        (!granted.is_empty())
            .then(|| (!is_named, format!("{by} {} {word} that has {}", quoted(name), granted.join(", "))))
    };
    let mut messages: Vec<(bool, String)> = view.references().filter_map(message).collect();
    messages.sort();
    messages.into_iter().map(|(_, message)| (place.clone(), message)).collect()
}

/// What a binding grants, for people.
pub(super) fn granted(view: &View<'_>, access: &Access) -> String {
    let messages: Vec<String> = violations(view, access).into_iter().map(|(_, message)| message).collect();
    messages.join("; ")
}
