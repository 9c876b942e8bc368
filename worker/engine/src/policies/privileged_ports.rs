//! `privileged_ports`: programs listen on ports that any user may open.
//!
//! # What it checks
//! Containers of a workload with a `containerPort` below 1024 (kube-linter `privileged-ports`).
//!
//! # Why
//! Below 1024 a process needs a privilege of the root user to listen, so that such an image is seldom run as another one
//! (Kubernetes documentation, *Configure a Security Context for a Pod or Container*).
//!
//! # Repair
//! None: the program listens where its own configuration says. A Service keeps its port whatever the container's is.
//!
//! # Example
//! ```yaml
//! ports: [{containerPort: 80}]     # found
//! ports: [{containerPort: 8080}]   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use super::workload::containers;
use crate::k8s::View;

pub(super) struct PrivilegedPorts;

/// The ports that need a privilege: where, which, and of which container.
fn ports<'a>(view: &View<'a>) -> impl Iterator<Item = (Pointer, i64, &'a str)> {
    containers(view).flat_map(|container| {
        let place = container.pointer.child("ports");
        container.maps("ports").filter_map(move |(index, port)| {
            let number = port.get("containerPort").and_then(Value::as_i64)?;
            let place = place.index(index).child("containerPort");
            (1..1024).contains(&number).then_some((place, number, container.name))
        })
    })
}

impl Reviewed for PrivilegedPorts {
    const ID: PolicyId = PolicyId::PrivilegedPorts;

    const CHECK: &'static Check = &Check {
        id: "privileged-ports",
        severity: Severity::Warning,
        remedy: "Listen on a port from 1024 on.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = |number, name| format!("port {number} is mapped in container {}.", quoted(name));
        ports(view).map(|(place, number, name)| (place, message(number, name))).collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        let numbers: Vec<String> =
            ports(view).map(|(_, number, name)| format!("{number} of {name}")).collect();
        format!(
            "let the program listen on a port from 1024 on, and write it in place of {}; a Service keeps its port by targetPort",
            numbers.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&PrivilegedPorts);
    }

    #[test]
    fn low_ports_are_found() {
        let pod = document(
            "kind: Pod\nspec: {initContainers: [{name: i, ports: [{containerPort: 1}]}], containers: [{name: a, ports: [{containerPort: 1023}, {containerPort: 1024}, {containerPort: 0}, {containerPort: -4}, {containerPort: web}]}]}",
        );
        assert_eq!(
            messages(&PrivilegedPorts, &pod),
            ["port 1023 is mapped in container \"a\".", "port 1 is mapped in container \"i\"."]
        );
    }
}
