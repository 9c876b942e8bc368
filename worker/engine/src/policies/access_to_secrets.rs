//! `access_to_secrets`: Secrets are read by who needs them.
//!
//! # What it checks
//! A `RoleBinding` or `ClusterRoleBinding` whose role grants any verb on `secrets`, or on all resources; of an aggregated
//! role also the roles that it is put together of (kube-linter `access-to-secrets`). The role has to be among the
//! manifests.
//!
//! # Why
//! Who reads Secrets has the passwords and tokens of others (CIS Kubernetes Benchmark 5.1.2).
//!
//! # Repair
//! None: what the subjects need, no manifest says.
//!
//! # Example
//! ```yaml
//! rules: [{resources: [secrets], verbs: [get, list]}]                       # found, where a binding names the role
//! rules: [{resources: [secrets], resourceNames: [web], verbs: [get]}]       # found too: kube-linter looks at no names
//! rules: [{resources: [configmaps], verbs: [get, list]}]                    # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::access::{self, Access};
use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct AccessToSecrets;

const ACCESS: Access = Access { resources: &["secrets"], verbs: &[] };

impl Reviewed for AccessToSecrets {
    const ID: PolicyId = PolicyId::AccessToSecrets;

    const CHECK: &'static Check = &Check {
        id: "access-to-secrets",
        severity: Severity::Error,
        remedy: "Grant get on the Secrets that are needed, by name.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        access::violations(view, &ACCESS)
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say which Secrets the subjects need, and grant get on these alone by name: {}",
            access::granted(view, &ACCESS)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Policy as _;
    use super::*;
    use crate::k8s::neighbours::{Index, reference};
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&AccessToSecrets);
    }

    #[test]
    fn any_verb_on_secrets_is_found() {
        for (rule, expected) in [
            ("{resources: [secrets], verbs: [patch, get]}", Some("[patch get] access to [secrets]")),
            ("{resources: ['*', pods], verbs: ['*']}", Some("[*] access to [*]")),
            ("{resources: [secrets/x], verbs: [get]}", None),
            ("{resources: [pods], verbs: [get]}", None),
            ("{nonResourceURLs: ['*'], verbs: [get]}", None),
        ] {
            let role = document(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r}}\nrules: [{rule}]"
            ));
            let binding = document(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\nroleRef: {kind: Role, name: r}",
            );
            let neighbours = Index::new(reference(&role)).with_references().related(&binding);
            let found = AccessToSecrets.detect(&View::new(&binding, &neighbours));
            let found: Vec<String> = found.into_iter().map(|found| found.message).collect();
            let expected: Vec<String> =
                expected.iter().map(|what| format!("binding to \"r\" role that has {what}")).collect();
            assert_eq!(found, expected, "{rule}");
            assert_eq!(messages(&AccessToSecrets, &role), Vec::<String>::new());
        }
    }

    #[test]
    fn aggregated_roles_are_put_together() {
        let role = |name: &str, more: &str| {
            document(&format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}, labels: {{part: x}}}}\n{more}"
            ))
        };
        let whole = role("whole", "aggregationRule: {clusterRoleSelectors: [{matchLabels: {part: x}}]}");
        let part = role("part", "rules: [{resources: [secrets], verbs: [get]}]");
        let binding = document(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: whole}",
        );
        let index = Index::new([&whole, &part].into_iter().filter_map(reference)).with_references();
        let found = AccessToSecrets.detect(&View::new(&binding, &index.related(&binding)));
        let found: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(
            found,
            ["binding via aggregationRule to \"part\" clusterrole that has [get] access to [secrets]"]
        );
    }
}
