//! `no_liveness_probe`: a container that hangs is restarted.
//!
//! # What it checks
//! Regular containers of a workload without `livenessProbe` (kube-linter `no-liveness-probe`).
//!
//! # Why
//! A program that deadlocks keeps its process: without a probe the kubelet takes it for alive and never restarts it
//! (Kubernetes documentation, *Configure Liveness, Readiness and Startup Probes*).
//!
//! # Repair
//! None: a probe must ask what this program answers. One that asks something else restarts a healthy container for ever.
//!
//! # Example
//! ```yaml
//! containers: [{name: web, image: "web:1"}]                                                       # found
//! containers: [{name: web, image: "web:1", livenessProbe: {httpGet: {path: /healthz, port: 80}}}] # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::missing_probe;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct NoLivenessProbe;

const PROBE: &str = "livenessProbe";

impl Reviewed for NoLivenessProbe {
    const ID: PolicyId = PolicyId::NoLivenessProbe;

    const CHECK: &'static Check = &Check {
        id: "no-liveness-probe",
        severity: Severity::Warning,
        remedy: "Give every container a liveness probe.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        missing_probe::violations(view, PROBE, "liveness")
    }

    fn reason(&self, view: &View<'_>) -> String {
        missing_probe::reason(view, PROBE, "shows that the program no longer works")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoLivenessProbe);
    }

    #[test]
    fn regular_containers_of_workloads_need_one() {
        let pod = "{initContainers: [{name: a}], containers: [{name: b, readinessProbe: {}}, {name: c, livenessProbe: {exec: {command: [x]}}}, {name: d, livenessProbe: null}]}";
        let found = messages(&NoLivenessProbe, &document(&format!("kind: Pod\nspec: {pod}")));
        assert_eq!(
            found,
            [
                "container \"b\" does not specify a liveness probe",
                "container \"d\" does not specify a liveness probe"
            ]
        );
        let template = document(&format!("kind: PodTemplate\ntemplate: {{spec: {pod}}}"));
        assert_eq!(messages(&NoLivenessProbe, &template), Vec::<String>::new());
    }
}
