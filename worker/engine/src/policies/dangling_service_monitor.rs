//! `dangling_service_monitor`: a service monitor finds Services.
//!
//! # What it checks
//! That a `ServiceMonitor` of the Prometheus operator selects by labels or namespaces, and that a Service is selected
//! (kube-linter `dangling-servicemonitor`). A document that stands alone has no Services beside it.
//!
//! # Why
//! Nothing is scraped, and alerts on what is not measured stay silent (Prometheus operator documentation,
//! *`ServiceMonitor`*).
//!
//! # Repair
//! None: which Services were meant, no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {selector: {matchLabels: {app: wbe}}}   # found, beside a Service with app: web
//! spec: {selector: {matchLabels: {app: web}}}   # not
//! ```

use std::collections::BTreeMap;

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::{LabelSelector, Reference};
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;
use crate::k8s::label_selector::{self, query};
use crate::k8s::neighbours::text_labels;

pub(super) struct DanglingServiceMonitor;

/// What a monitor selects Services by.
struct Wanted {
    labels: LabelSelector,
    /// Namespaces by name.
    namespaces: Vec<String>,
    /// Whether any namespace will do.
    is_anywhere: bool,
}

impl Wanted {
    fn of(monitor: &Value) -> Self {
        let labels = monitor.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let names = monitor.pointer("/spec/namespaceSelector/matchNames").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let any = monitor.pointer("/spec/namespaceSelector/any");
        Self {
            labels: LabelSelector { labels: text_labels(labels), expressions: Vec::new() },
            namespaces: names.collect(),
            is_anywhere: any == Some(&Value::Bool(true)),
        }
    }

    fn names_nothing(&self) -> bool {
        self.labels.labels.is_empty() && self.namespaces.is_empty() && !self.is_anywhere
    }

    /// Whether a Service is selected. Where no namespace is named, kube-linter takes Services of any.
    fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        let is_there = self.is_anywhere
            || self.namespaces.is_empty()
            || self.namespaces.iter().any(|name| name == namespace);
        is_there && label_selector::matches(&self.labels, labels)
    }
}

fn trouble(view: &View<'_>) -> Option<String> {
    let wanted = Wanted::of(view.value);
    if wanted.names_nothing() {
        return Some("service monitor has no selector specified".to_owned());
    }
    if let Some(error) = label_selector::invalid(&wanted.labels) {
        return Some(format!("service monitor has invalid label selector: {error}"));
    }
    let is_found = view.references().any(|reference| {
        matches!(reference, Reference::Service { namespace, labels, .. } if wanted.selects(namespace, labels))
    });
    let message = || {
        format!(
            "no services found matching the service monitor's label selector ({}) and namespace selector ([{}])",
            query(&wanted.labels),
            wanted.namespaces.join(" ")
        )
    };
    (!is_found).then(message)
}

impl Reviewed for DanglingServiceMonitor {
    const ID: PolicyId = PolicyId::DanglingServiceMonitor;

    const CHECK: &'static Check = &Check {
        id: "dangling-servicemonitor",
        severity: Severity::Warning,
        remedy: "Make the monitor's selector match the labels of the Services.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let message = if view.kind() == "ServiceMonitor" { trouble(view) } else { None };
        message.map(|message| (Pointer::of(["spec", "selector"]), message)).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say which Services are to be scraped, and set spec.selector to their labels, or remove the monitor"
            .to_owned()
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
        fixture_holds(&DanglingServiceMonitor);
    }

    #[test]
    fn services_are_looked_for() {
        let service = document("kind: Service\nmetadata: {name: web, namespace: a, labels: {app: web}}");
        let index = Index::new(reference(&service)).with_references();
        for (spec, count) in [
            ("{selector: {matchLabels: {app: web}}}", 0),
            ("{selector: {matchLabels: {app: web}}, namespaceSelector: {matchNames: [a]}}", 0),
            ("{selector: {matchLabels: {app: web}}, namespaceSelector: {any: true}}", 0),
            ("{selector: {}, namespaceSelector: {matchNames: [a]}}", 0),
            ("{selector: {matchLabels: {app: web}}, namespaceSelector: {matchNames: [b]}}", 1),
            ("{selector: {matchLabels: {app: wbe}}}", 1),
            ("{selector: {}}", 1),
        ] {
            let text = format!(
                "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {{name: m}}\nspec: {spec}"
            );
            let monitor = document(&text);
            let neighbours = index.related(&monitor);
            let found = DanglingServiceMonitor.detect(&View::new(&monitor, &neighbours));
            assert_eq!(found.len(), count, "{spec}: {found:?}");
        }
        assert_eq!(messages(&DanglingServiceMonitor, &service), Vec::<String>::new());
    }
}
