//! `scc_deny_privileged_container`: security context constraints allow no privileged container.
//!
//! # What it checks
//! `OpenShift`'s `SecurityContextConstraints` with `allowPrivilegedContainer: true` (kube-linter
//! `scc-deny-privileged-container`).
//!
//! # Why
//! A privileged container has the rights of root on its node (`OpenShift` documentation, *Managing security context
//! constraints*).
//!
//! # Repair
//! None: pods that use the constraints may need what they allow; which capabilities would do, no manifest says.
//!
//! # Example
//! ```yaml
//! allowPrivilegedContainer: true    # found
//! allowPrivilegedContainer: false   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct SccDenyPrivilegedContainer;

const KEY: &str = "allowPrivilegedContainer";

impl Reviewed for SccDenyPrivilegedContainer {
    const ID: PolicyId = PolicyId::SccDenyPrivilegedContainer;

    const CHECK: &'static Check = &Check {
        id: "scc-deny-privileged-container",
        severity: Severity::Error,
        remedy: "List the capabilities that are needed in allowedCapabilities instead.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let is_found =
            view.kind() == "SecurityContextConstraints" && view.value.get(KEY) == Some(&Value::Bool(true));
        let message = "SCC has allowPrivilegedContainer set to true".to_owned();
        is_found.then(|| (Pointer::of([KEY]), message)).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say which capabilities the pods that use these constraints need, list them in allowedCapabilities, and set \
         allowPrivilegedContainer to false"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&SccDenyPrivilegedContainer);
    }

    #[test]
    fn only_true_is_found() {
        for (version, value, count) in [
            ("security.openshift.io/v1", "true", 1),
            ("security.openshift.io/v1", "false", 0),
            ("example.com/v1", "true", 0),
        ] {
            let text = format!(
                "apiVersion: {version}\nkind: SecurityContextConstraints\nallowPrivilegedContainer: {value}"
            );
            assert_eq!(messages(&SccDenyPrivilegedContainer, &document(&text)).len(), count, "{text}");
        }
    }
}
