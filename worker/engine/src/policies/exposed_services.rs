//! `exposed_services`: a Service is reached from within the cluster.
//!
//! # What it checks
//! A Service of type `NodePort` or `LoadBalancer` (kube-linter `exposed-services`).
//!
//! # Why
//! It is open to all that reach the nodes or the load balancer, past the Ingress and what is checked there (Kubernetes
//! documentation, *Service*).
//!
//! # Repair
//! None: who has to reach the Service from outside, and how, no manifest says.
//!
//! # Example
//! ```yaml
//! kind: Service, spec: {type: LoadBalancer, ports: [{port: 80}]}   # found
//! kind: Service, spec: {type: ClusterIP, ports: [{port: 80}]}      # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct ExposedServices;

/// The type of a Service that is open to the outside.
fn exposed<'a>(view: &View<'a>) -> Option<&'a str> {
    let kind = view.spec().filter(|_| view.kind() == "Service")?.get("type").and_then(Value::as_str)?;
    matches!(kind, "NodePort" | "LoadBalancer").then_some(kind)
}

impl Reviewed for ExposedServices {
    const ID: PolicyId = PolicyId::ExposedServices;

    const CHECK: &'static Check = &Check {
        id: "exposed-services",
        severity: Severity::Warning,
        remedy: "Use a ClusterIP, and an Ingress where the outside has to reach it.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = exposed(view).map(|kind| format!("{} service type is forbidden.", quoted(kind)));
        message.map(|message| (Pointer::of(["spec", "type"]), message)).into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        format!(
            "say what reaches the {} from outside of the cluster: if nothing does, make it a ClusterIP; else put an Ingress or a Gateway \
             before it",
            exposed(view).unwrap_or("Service")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&ExposedServices);
    }

    #[test]
    fn open_types_of_services_are_found() {
        for (kind, service, expected) in [
            ("Service", "NodePort", Some("\"NodePort\" service type is forbidden.")),
            ("Service", "LoadBalancer", Some("\"LoadBalancer\" service type is forbidden.")),
            ("Service", "ClusterIP", None),
            ("Service", "ExternalName", None),
            ("Widget", "NodePort", None),
        ] {
            let document = document(&format!("kind: {kind}\nspec: {{type: {service}}}"));
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(messages(&ExposedServices, &document), expected, "{kind} {service}");
        }
    }
}
