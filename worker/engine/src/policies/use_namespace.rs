//! `use_namespace`: objects have a namespace of their own.
//!
//! # What it checks
//! A workload or a Service in the namespace `default`, named or for want of a name (kube-linter `use-namespace`).
//!
//! # Why
//! Quotas, network policies and rights are given by namespace: what shares one shares them (CIS Kubernetes Benchmark 5.7.1
//! and 5.7.4).
//!
//! # Repair
//! None: a namespace is a part of what an object is, and others find it there. Often the namespace is given when the
//! manifests are applied.
//!
//! # Example
//! ```yaml
//! metadata: {name: web}                    # found
//! metadata: {name: web, namespace: shop}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct UseNamespace;

const MESSAGE: &str = "object in default namespace";

impl Reviewed for UseNamespace {
    const ID: PolicyId = PolicyId::UseNamespace;

    const CHECK: &'static Check = &Check {
        id: "use-namespace",
        severity: Severity::Warning,
        remedy: "Put the object into a namespace of its own.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let is_concerned = view.is_workload() || view.kind() == "Service";
        let is_found = is_concerned && view.identity.effective_namespace().eq_ignore_ascii_case("default");
        is_found.then(|| (Pointer::of(["metadata", "namespace"]), MESSAGE.to_owned())).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say which namespace the object belongs to, and write it into its manifest and into what refers to it"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&UseNamespace);
    }

    #[test]
    fn the_default_namespace_is_found() {
        for (kind, metadata, count) in [
            ("Pod", "{name: a}", 1),
            ("Pod", "{name: a, namespace: ''}", 1),
            ("Service", "{name: a, namespace: default}", 1),
            ("Deployment", "{name: a, namespace: shop}", 0),
            ("ConfigMap", "{name: a}", 0),
        ] {
            let document = document(&format!("kind: {kind}\nmetadata: {metadata}"));
            assert_eq!(messages(&UseNamespace, &document).len(), count, "{kind} {metadata}");
        }
    }
}
