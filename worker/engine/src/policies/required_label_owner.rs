//! `required_label_owner`: a workload says who owns it.
//!
//! # What it checks
//! A workload without a label whose key has `owner` in it (kube-linter `required-label-owner`).
//!
//! # Why
//! Costs, quotas and alerts are given to owners by that label (kube-linter documentation).
//!
//! # Repair
//! None: no manifest says who that is.
//!
//! # Example
//! ```yaml
//! metadata: {name: web}                                # found
//! metadata: {name: web, labels: {owner: shop-team}}    # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct RequiredLabelOwner;

const MESSAGE: &str = r#"no label matching "owner=<any>" found"#;

impl Reviewed for RequiredLabelOwner {
    const ID: PolicyId = PolicyId::RequiredLabelOwner;

    const CHECK: &'static Check = &Check {
        id: "required-label-owner",
        severity: Severity::Warning,
        remedy: "Write the owner of the workload into the label owner.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let labels = view.metadata().and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
        let has_owner = labels.is_some_and(|labels| labels.keys().any(|key| key.contains("owner")));
        let is_found = view.is_workload() && !has_owner;
        is_found.then(|| (Pointer::of(["metadata", "labels"]), MESSAGE.to_owned())).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say who owns the workload, and write it into the label owner".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&RequiredLabelOwner);
    }

    #[test]
    fn a_label_is_looked_for() {
        for (kind, labels, count) in [
            ("Pod", "{app: web}", 1),
            ("Deployment", "null", 1),
            ("Pod", "{owner: a}", 0),
            ("Pod", "{example.com/owner: ''}", 0),
            ("Service", "{app: web}", 0),
        ] {
            let document = document(&format!("kind: {kind}\nmetadata: {{labels: {labels}}}"));
            assert_eq!(messages(&RequiredLabelOwner, &document).len(), count, "{kind} {labels}");
        }
    }
}
