//! `cluster_admin_role_binding`: full rights of the cluster are not given for good.
//!
//! # What it checks
//! A `ClusterRoleBinding` to the `ClusterRole` `cluster-admin` (kube-linter `cluster-admin-role-binding`).
//!
//! # Why
//! Its subjects may do everything in every namespace, and so may an attacker in one of their pods (CIS Kubernetes
//! Benchmark 5.1.1).
//!
//! # Repair
//! None: which rights the subjects need, no manifest says.
//!
//! # Example
//! ```yaml
//! roleRef: {kind: ClusterRole, name: cluster-admin}   # found
//! roleRef: {kind: ClusterRole, name: view}            # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct ClusterAdminRoleBinding;

fn is_admin(view: &View<'_>) -> bool {
    let text = |place: &str| view.value.pointer(place).and_then(Value::as_str);
    view.kind() == "ClusterRoleBinding"
        && text("/roleRef/kind") == Some("ClusterRole")
        && text("/roleRef/name") == Some("cluster-admin")
}

/// The subjects as Go prints them: four fields in one order, two of them where they are set.
fn subjects(view: &View<'_>) -> String {
    let Some(subjects) = view.value.get("subjects").and_then(Value::as_array) else {
        return "null".to_owned();
    };
    let field = |subject: &Value, key: &str| {
        let text = subject.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_shown = !text.is_empty() || matches!(key, "kind" | "name");
        is_shown.then(|| (key.to_owned(), Value::from(text)))
    };
    let subject = |subject: &Value| -> Map<String, Value> {
        ["kind", "apiGroup", "name", "namespace"].into_iter().filter_map(|key| field(subject, key)).collect()
    };
    Value::Array(subjects.iter().map(|fields| Value::Object(subject(fields))).collect()).to_string()
}

impl Reviewed for ClusterAdminRoleBinding {
    const ID: PolicyId = PolicyId::ClusterAdminRoleBinding;

    const CHECK: &'static Check = &Check {
        id: "cluster-admin-role-binding",
        severity: Severity::Error,
        remedy: "Bind a role that grants what the subjects need.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = is_admin(view).then(|| format!("cluster-admin role is bound to {}", subjects(view)));
        message.map(|message| (Pointer::of(["roleRef", "name"]), message)).into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say what the subjects do in the cluster, and bind a role that grants that alone to {}",
            subjects(view)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&ClusterAdminRoleBinding);
    }

    #[test]
    fn bindings_to_the_role_are_found() {
        let binding = |kind: &str, role: &str, subjects: &str| {
            document(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: b}}\nroleRef: {{kind: ClusterRole, name: {role}}}\nsubjects: {subjects}"
            ))
        };
        let subjects = "[{namespace: a, name: b, kind: ServiceAccount}, {kind: Group, name: g, apiGroup: rbac.authorization.k8s.io}]";
        assert_eq!(
            messages(&ClusterAdminRoleBinding, &binding("ClusterRoleBinding", "cluster-admin", subjects)),
            [
                "cluster-admin role is bound to [{\"kind\":\"ServiceAccount\",\"name\":\"b\",\"namespace\":\"a\"},{\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"g\"}]"
            ]
        );
        assert_eq!(
            messages(&ClusterAdminRoleBinding, &binding("ClusterRoleBinding", "cluster-admin", "null")),
            ["cluster-admin role is bound to null"]
        );
        for (kind, role) in [("ClusterRoleBinding", "view"), ("RoleBinding", "cluster-admin")] {
            assert_eq!(
                messages(&ClusterAdminRoleBinding, &binding(kind, role, subjects)),
                Vec::<String>::new()
            );
        }
    }
}
