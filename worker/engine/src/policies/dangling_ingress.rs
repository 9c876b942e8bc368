//! `dangling_ingress`: an Ingress sends requests to Services that exist.
//!
//! # What it checks
//! That every backend of an Ingress (of `networking.k8s.io/v1`) names a Service of its namespace and one of its ports, by
//! number or name (kube-linter `dangling-ingress`). A document that stands alone has no Services beside it.
//!
//! # Why
//! The controller answers requests for such a path with an error (Kubernetes documentation, *Ingress*).
//!
//! # Repair
//! None: which Service was meant, or whether it is made elsewhere, no manifest says.
//!
//! # Example
//! ```yaml
//! backend: {service: {name: wbe, port: {number: 80}}}   # found, beside a Service web with port 80
//! backend: {service: {name: web, port: {number: 80}}}   # not
//! ```

use std::collections::BTreeSet;

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::Reference;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;
use crate::k8s::neighbours::backends;

pub(super) struct DanglingIngress;

/// The Services and ports that are not there, each once, with the place of the first backend that names it.
fn missing(view: &View<'_>) -> Vec<(Pointer, String, String)> {
    if view.kind() != "Ingress" {
        return Vec::new();
    }
    let exists = |wanted: &str, port: &str| {
        view.references().any(|reference| {
            matches!(reference, Reference::Service { name, ports, .. } if name == wanted && ports.contains(port))
        })
    };
    let mut seen = BTreeSet::new();
    let backends = backends(view.value).into_iter();
    let missing =
        backends.filter(|(_, name, port)| !exists(name, port) && seen.insert((*name, port.clone())));
    missing
        .map(|(keys, name, port)| {
            let place = Pointer::of(keys.iter().map(String::as_str)).join(&["service"]);
            (place, name.to_owned(), port)
        })
        .collect()
}

impl Reviewed for DanglingIngress {
    const ID: PolicyId = PolicyId::DanglingIngress;

    const CHECK: &'static Check = &Check {
        id: "dangling-ingress",
        severity: Severity::Error,
        remedy: "Name a Service that exists, and one of its ports.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = |name, port| format!("no service found matching ingress label ({name}), port {port}");
        missing(view).into_iter().map(|(place, name, port)| (place, message(name, port))).collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        let names: Vec<String> =
            missing(view).into_iter().map(|(_, name, port)| format!("{name}:{port}")).collect();
        format!(
            "name Services and ports that exist in namespace {:?} in place of {}, or make these",
            view.identity.effective_namespace(),
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Policy as _;
    use super::*;
    use crate::k8s::neighbours::{Index, reference};
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&DanglingIngress);
    }

    fn found(ingress: &str) -> Vec<String> {
        let service =
            document("kind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80, name: http}]}");
        let elsewhere =
            document("kind: Service\nmetadata: {name: api, namespace: x}\nspec: {ports: [{port: 80}]}");
        let index = Index::new([&service, &elsewhere].into_iter().filter_map(reference)).with_references();
        let ingress = document(&format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a}}\nspec: {ingress}"
        ));
        let neighbours = index.related(&ingress);
        DanglingIngress
            .detect(&View::new(&ingress, &neighbours))
            .into_iter()
            .map(|found| found.message)
            .collect()
    }

    #[test]
    fn name_and_port_must_exist() {
        let backend = |name: &str, port: &str| {
            format!("{{defaultBackend: {{service: {{name: {name}, port: {port}}}}}}}")
        };
        assert_eq!(found(&backend("web", "{number: 80}")), Vec::<String>::new());
        assert_eq!(found(&backend("web", "{name: http}")), Vec::<String>::new());
        for (name, port, shown) in [
            ("web", "{number: 81}", "81"),
            ("web", "{name: ui}", "ui"),
            ("api", "{number: 80}", "80"),
            ("x", "null", "0"),
        ] {
            let message = format!("no service found matching ingress label ({name}), port {shown}");
            assert_eq!(found(&backend(name, port)), [message]);
        }
        let twice = "{rules: [{http: {paths: [{backend: {service: {name: x, port: {number: 1}}}}, {backend: {service: {name: x, port: {number: 1}}}}, {backend: {resource: {kind: Bucket, name: x}}}]}}]}";
        assert_eq!(found(twice).len(), 1);
        assert_eq!(found("{defaultBackend: {resource: {kind: Bucket, name: x}}}"), Vec::<String>::new());
        assert_eq!(messages(&DanglingIngress, &document("kind: Service\nspec: {}")), Vec::<String>::new());
    }
}
