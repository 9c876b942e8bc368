//! `no_readiness_probe`: traffic goes to containers that are ready for it.
//!
//! # What it checks
//! Regular containers of a workload without `readinessProbe` (kube-linter `no-readiness-probe`).
//!
//! # Why
//! A Service sends requests to a pod from the moment that its containers run; without a probe also to one that still starts
//! or has lost what it depends on (Kubernetes documentation, *Configure Liveness, Readiness and Startup Probes*).
//!
//! # Repair
//! None: a probe must ask what this program answers. One that asks something else takes a healthy pod out of its Services.
//!
//! # Example
//! ```yaml
//! containers: [{name: web, image: "web:1"}]                                                      # found
//! containers: [{name: web, image: "web:1", readinessProbe: {httpGet: {path: /ready, port: 80}}}] # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Severity};
use super::missing_probe;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct NoReadinessProbe;

const PROBE: &str = "readinessProbe";

impl Reviewed for NoReadinessProbe {
    const ID: PolicyId = PolicyId::NoReadinessProbe;

    const CHECK: &'static Check = &Check {
        id: "no-readiness-probe",
        severity: Severity::Warning,
        remedy: "Give every container a readiness probe.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        missing_probe::violations(view, PROBE, "readiness")
    }

    fn reason(&self, view: &View<'_>) -> String {
        missing_probe::reason(view, PROBE, "shows that the program can take requests")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoReadinessProbe);
    }

    #[test]
    fn regular_containers_of_workloads_need_one() {
        let pod = "{initContainers: [{name: a}], containers: [{name: b, livenessProbe: {}}, {name: c, readinessProbe: {exec: {command: [x]}}}, {name: d, readinessProbe: null}]}";
        let found = messages(&NoReadinessProbe, &document(&format!("kind: Pod\nspec: {pod}")));
        assert_eq!(
            found,
            [
                "container \"b\" does not specify a readiness probe",
                "container \"d\" does not specify a readiness probe"
            ]
        );
        let template = document(&format!("kind: PodTemplate\ntemplate: {{spec: {pod}}}"));
        assert_eq!(messages(&NoReadinessProbe, &template), Vec::<String>::new());
    }
}
