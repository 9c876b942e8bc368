//! Objects beside a workload that depend on its pods: what selects them, and by which ports it reaches them.

use std::collections::BTreeSet;

use domain::record::Neighbour;
use serde_json::Value;

use super::neighbours::{selects, text_labels};
use super::view::View;

/// What a patch takes from the neighbours of a workload, one sentence each: a Service (a disruption budget, a network
/// policy) would no longer select its pods, or would no longer find a port of them by its name.
pub fn left_behind(before: &View<'_>, after: &View<'_>) -> Vec<String> {
    if before.pods.len() != after.pods.len() {
        return Vec::new();
    }
    before.neighbours_here().filter_map(|neighbour| lost(neighbour, before, after)).collect()
}

fn lost(neighbour: &Neighbour, before: &View<'_>, after: &View<'_>) -> Option<String> {
    let Neighbour::PodSelector { kind, name, labels, port_names, .. } = neighbour else { return None };
    let is_selected =
        |view: &View<'_>| view.pods.iter().any(|pod| selects(labels, &text_labels(pod.labels())));
    if !is_selected(before) {
        return None;
    }
    if !is_selected(after) {
        let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        return Some(format!(
            "{kind} {name} selects these pods by {}, and would select them no more",
            pairs.join(",")
        ));
    }
    let (had, has) = (named_ports(before), named_ports(after));
    let port = port_names.iter().find(|port| had.contains(port.as_str()) && !has.contains(port.as_str()))?;
    Some(format!("{kind} {name} sends traffic to the port {port:?} of these pods, which would be gone"))
}

fn named_ports<'a>(view: &View<'a>) -> BTreeSet<&'a str> {
    let ports = view.containers.iter().flat_map(|container| container.maps("ports"));
    ports.filter_map(|(_, port)| port.get("name").and_then(Value::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::neighbours::{Index, offer};
    use crate::testing::document;

    fn workload(labels: &str, ports: &str) -> crate::document::Document {
        document(&format!(
            "kind: Deployment\nmetadata: {{name: web}}\nspec: {{template: {{metadata: {{labels: {labels}}}, spec: {{containers: [{{name: a, ports: {ports}}}]}}}}}}"
        ))
    }

    #[test]
    fn what_loses_its_pods_or_its_port_is_named() {
        let service = document(
            "kind: Service\nmetadata: {name: web}\nspec: {selector: {app: web, tier: front}, ports: [{port: 80, targetPort: http}]}",
        );
        let old = workload("{app: web, tier: front, x: y}", "[{name: http, containerPort: 80}]");
        let neighbours = Index::new(offer(&service)).related(&old);
        let lost = |labels: &str, ports: &str| {
            let new = workload(labels, ports);
            left_behind(&View::new(&old, &neighbours), &View::new(&new, &neighbours)).join("; ")
        };
        let port = "[{name: http, containerPort: 80}]";
        assert_eq!(
            lost("{app: web, tier: back}", port),
            "Service web selects these pods by app=web,tier=front, and would select them no more"
        );
        assert!(lost("{app: web, tier: front}", "[]").contains("the port \"http\" of these pods"));
        assert_eq!(lost("{app: web, tier: front}", port), "", "a label more or less is nothing");
        let renumbered = "[{name: http, containerPort: 8080}, {name: x, containerPort: 1}]";
        assert_eq!(lost("{app: web, tier: front, z: z}", renumbered), "");
    }
}
