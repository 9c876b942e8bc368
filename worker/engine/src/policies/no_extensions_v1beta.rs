//! `no_extensions_v1beta`: objects are of API versions that are served.
//!
//! # What it checks
//! An object of `extensions/v1beta1` or another beta of that group (kube-linter `no-extensions-v1beta`).
//!
//! # Why
//! Kubernetes serves them no longer since 1.16 (workloads) and 1.22 (Ingress): the API server refuses the object
//! (Kubernetes documentation, *Deprecated API Migration Guide*).
//!
//! # Repair
//! None: the version decides what the fields mean. A Deployment needs a selector in `apps/v1`, and the backends of an
//! Ingress are written otherwise in `networking.k8s.io/v1`.
//!
//! # Example
//! ```yaml
//! apiVersion: extensions/v1beta1, kind: Deployment   # found
//! apiVersion: apps/v1, kind: Deployment              # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct NoExtensionsV1beta;

/// The beta version of the group `extensions`.
fn beta<'v>(view: &'v View<'_>) -> Option<&'v str> {
    let version = view.identity.api_version.strip_prefix("extensions/")?;
    version.strip_prefix("v1beta").is_some_and(|rest| !rest.is_empty()).then_some(version)
}

impl Reviewed for NoExtensionsV1beta {
    const ID: PolicyId = PolicyId::NoExtensionsV1beta;

    const CHECK: &'static Check = &Check {
        id: "no-extensions-v1beta",
        severity: Severity::Error,
        remedy: "Write the object anew for the API version that replaces it.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = beta(view).map(|version| {
            format!("disallowed API object found: extensions/{version}, Kind={}", view.identity.kind)
        });
        message.map(|message| (Pointer::of(["apiVersion"]), message)).into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        let successor = match view.kind() {
            "DaemonSet" | "Deployment" | "ReplicaSet" => "apps/v1, which needs a selector",
            "Ingress" => "networking.k8s.io/v1, whose backends are written otherwise",
            "NetworkPolicy" => "networking.k8s.io/v1",
            _ => "the version that replaces it",
        };
        format!("write the {} anew for {successor}", view.identity.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoExtensionsV1beta);
    }

    #[test]
    fn betas_of_the_group_are_found() {
        for (version, count) in [
            ("extensions/v1beta1", 1),
            ("extensions/v1beta2", 1),
            ("extensions/v1", 0),
            ("apps/v1beta1", 0),
            ("v1", 0),
        ] {
            let document = document(&format!("apiVersion: {version}\nkind: Deployment"));
            assert_eq!(messages(&NoExtensionsV1beta, &document).len(), count, "{version}");
        }
        assert_eq!(
            messages(&NoExtensionsV1beta, &document("apiVersion: extensions/v1beta1\nkind: Ingress")),
            ["disallowed API object found: extensions/v1beta1, Kind=Ingress"]
        );
    }
}
