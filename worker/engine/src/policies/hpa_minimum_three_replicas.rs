//! `hpa_minimum_three_replicas`: an autoscaler leaves three pods running.
//!
//! # What it checks
//! A `HorizontalPodAutoscaler` with `minReplicas` below three; one that names no number has one (kube-linter
//! `hpa-minimum-three-replicas`).
//!
//! # Why
//! It may scale an application down to what one lost node takes away (Kubernetes documentation, *Horizontal Pod
//! Autoscaling*).
//!
//! # Repair
//! None: whether the program may run more than once at a time, no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {minReplicas: 1, maxReplicas: 9}   # found
//! spec: {minReplicas: 3, maxReplicas: 9}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::replicas;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct HpaMinimumThreeReplicas;

impl Reviewed for HpaMinimumThreeReplicas {
    const ID: PolicyId = PolicyId::HpaMinimumThreeReplicas;

    const CHECK: &'static Check = &Check {
        id: "hpa-minimum-three-replicas",
        severity: Severity::Warning,
        remedy: "Set minReplicas to three or more.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let asked =
            replicas::written(view, "minReplicas").filter(|_| view.kind() == "HorizontalPodAutoscaler");
        let message = asked.and_then(replicas::too_few);
        message.map(|message| (Pointer::of(["spec", "minReplicas"]), message)).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say whether the program may run three times at once: if so, set minReplicas to 3, and maxReplicas to no less".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&HpaMinimumThreeReplicas);
    }

    #[test]
    fn fewer_than_three_are_found() {
        for (spec, count) in
            [("{minReplicas: 2}", 1), ("{}", 1), ("{minReplicas: 3}", 0), ("{minReplicas: x}", 0)]
        {
            let scaler = document(&format!("kind: HorizontalPodAutoscaler\nspec: {spec}"));
            assert_eq!(messages(&HpaMinimumThreeReplicas, &scaler).len(), count, "{spec}");
        }
        assert_eq!(
            messages(&HpaMinimumThreeReplicas, &document("kind: Pod\nspec: {}")),
            Vec::<String>::new()
        );
    }
}
