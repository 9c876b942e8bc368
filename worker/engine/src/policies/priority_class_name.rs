//! `priority_class_name`: priorities are the ones that every cluster has.
//!
//! # What it checks
//! A workload whose pods name a priority class other than `system-cluster-critical` and `system-node-critical`
//! (kube-linter `priority-class-name`).
//!
//! # Why
//! A class that the cluster lacks keeps every pod from being made (Kubernetes documentation, *Pod Priority and
//! Preemption*).
//!
//! # Repair
//! None: which classes the cluster has, and what the pods may displace, no manifest says. The two classes of the system
//! are not for applications.
//!
//! # Example
//! ```yaml
//! spec: {priorityClassName: high-priority, containers: [{name: web}]}   # found
//! spec: {containers: [{name: web}]}                                     # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use super::workload::{pod_of, pod_text};
use crate::k8s::{Pod, View};

pub(super) struct PriorityClassName;

const ACCEPTED: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// The class of the pod that is none of the accepted ones.
fn other<'a>(pod: &Pod<'a>) -> Option<&'a str> {
    let class = pod_text(pod, "priorityClassName");
    (!class.trim().is_empty() && !ACCEPTED.contains(&class)).then_some(class)
}

impl Reviewed for PriorityClassName {
    const ID: PolicyId = PolicyId::PriorityClassName;

    const CHECK: &'static Check = &Check {
        id: "priority-class-name",
        severity: Severity::Warning,
        remedy: "Leave priorityClassName out, or make the class that it names.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let found = pod_of(view).and_then(|pod| {
            let accepted = ACCEPTED.join(" ");
            let message = format!(
                "object has a priority class name defined with '{}' but the only accepted priority class names are '[{accepted}]'",
                other(pod)?
            );
            Some((pod.pointer.child("priorityClassName"), message))
        });
        found.into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        let class = pod_of(view).and_then(other).unwrap_or_default();
        format!(
            "say whether the cluster has the priority class {class:?}: if not, make it, or leave priorityClassName out"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&PriorityClassName);
    }

    #[test]
    fn unknown_classes_are_found() {
        for (class, count) in
            [("high", 1), ("' '", 0), ("''", 0), ("system-node-critical", 0), ("' high'", 1)]
        {
            let pod = document(&format!("kind: Pod\nspec: {{priorityClassName: {class}}}"));
            assert_eq!(messages(&PriorityClassName, &pod).len(), count, "{class}");
        }
    }
}
