//! `minimum_three_replicas`: an application outlives the loss of a node.
//!
//! # What it checks
//! A Deployment, `StatefulSet`, `ReplicaSet` or `ReplicationController` that asks for fewer than three replicas; one that
//! names no number has one (kube-linter `minimum-three-replicas`).
//!
//! # Why
//! While one pod is moved and another fails, a third still answers (Kubernetes documentation, *Disruptions*).
//!
//! # Repair
//! None: whether the program may run more than once at a time, no manifest says. A database or a leader without election
//! may not.
//!
//! # Example
//! ```yaml
//! spec: {replicas: 1}   # found
//! spec: {replicas: 3}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::replicas;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct MinimumThreeReplicas;

/// How many replicas a workload asks for; `None` where its kind has no such number.
fn asked(view: &View<'_>) -> Option<i64> {
    let has_replicas =
        matches!(view.kind(), "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet");
    replicas::written(view, "replicas").filter(|_| has_replicas)
}

impl Reviewed for MinimumThreeReplicas {
    const ID: PolicyId = PolicyId::MinimumThreeReplicas;

    const CHECK: &'static Check = &Check {
        id: "minimum-three-replicas",
        severity: Severity::Warning,
        remedy: "Ask for three replicas or more.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = asked(view).and_then(replicas::too_few);
        message.map(|message| (Pointer::of(["spec", "replicas"]), message)).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say whether the program may run three times at once: its state, its volumes and its leader must allow it; then set replicas to 3"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&MinimumThreeReplicas);
    }

    #[test]
    fn fewer_than_three_are_found() {
        for (kind, spec, expected) in [
            ("Deployment", "{replicas: 1}", Some("object has 1 replica but minimum required replicas is 3")),
            ("StatefulSet", "{}", Some("object has 1 replica but minimum required replicas is 3")),
            ("ReplicaSet", "{replicas: 2}", Some("object has 2 replicas but minimum required replicas is 3")),
            (
                "ReplicationController",
                "{replicas: 0}",
                Some("object has 0 replica but minimum required replicas is 3"),
            ),
            ("Deployment", "{replicas: 3}", None),
            ("Deployment", "{replicas: three}", None),
            ("DaemonSet", "{}", None),
            ("DeploymentConfig", "{replicas: 1}", None),
        ] {
            let document = document(&format!("kind: {kind}\nspec: {spec}"));
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(messages(&MinimumThreeReplicas, &document), expected, "{kind} {spec}");
        }
    }
}
