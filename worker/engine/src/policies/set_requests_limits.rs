//! `set_requests_limits`: CPU and memory are requested and limited.
//!
//! # What it checks
//! The CPU request and the memory limit of every container (kube-linter `unset-cpu-requirements` and
//! `unset-memory-requirements`); a zero counts as absent. A repair must leave all four values present, above zero, and
//! no request above its limit. Ephemeral containers are left out: the API server allows them no resources.
//!
//! # Why
//! Without a request the scheduler packs nodes blindly; without a memory limit one leak takes its node down
//! (Kubernetes documentation, *Resource Management for Pods and Containers*).
//!
//! # Repair
//! Only what is missing is added: a limit is the larger of its configured default and the container's request; a request
//! is the container's limit, as the API server defaults it, and the configured default where there is no limit. What the
//! user wrote stays as it is, numbers included. A value that is no quantity, or a request above its limit, is the user's to decide.
//!
//! # Example
//! ```yaml
//! resources: {limits: {memory: 64Mi}}                                                    # before
//! resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {cpu: 100m, memory: 64Mi}}    # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, ContainerKind, View, quantity};

pub(super) struct SetRequestsLimits;

const CPU: Check = Check {
    id: "unset-cpu-requirements",
    severity: Severity::Warning,
    remedy: "Set the CPU requests and limits of the container to what it needs.",
};

const MEMORY: Check = Check {
    id: "unset-memory-requirements",
    severity: Severity::Warning,
    remedy: "Set the memory requests and limits of the container to what it needs.",
};

const RESOURCES: [&str; 2] = ["cpu", "memory"];
const BLOCKS: [&str; 2] = ["requests", "limits"];

/// One of the four values of a container.
enum Amount {
    /// Absent, null, empty or zero.
    Missing,
    /// Above zero.
    Set(f64),
    /// Not a quantity, or below zero.
    Unreadable(String),
}

fn amount(container: &Container<'_>, block: &str, resource: &str) -> Amount {
    let value = container.fields.get("resources").and_then(|resources| resources.get(block)?.get(resource));
    match value {
        None | Some(Value::Null) => Amount::Missing,
        Some(Value::String(text)) if text.is_empty() => Amount::Missing,
        Some(value) => match quantity::parse(value) {
            Some(0.0) => Amount::Missing,
            Some(amount) if amount > 0.0 => Amount::Set(amount),
            _ => Amount::Unreadable(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        },
    }
}

fn with_resources<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Container<'a>> {
    view.containers.iter().filter(|container| container.kind != ContainerKind::Ephemeral)
}

/// The four values of a container, read once.
struct Amounts<'c, 'a> {
    container: &'c Container<'a>,
    resource: &'static str,
    request: Amount,
    limit: Amount,
}

impl<'c, 'a> Amounts<'c, 'a> {
    fn of(container: &'c Container<'a>, resource: &'static str) -> Self {
        let request = amount(container, "requests", resource);
        let limit = amount(container, "limits", resource);
        Self { container, resource, request, limit }
    }

    fn written(&self, block: &str) -> Option<&'a Value> {
        self.container.fields.get("resources")?.get(block)?.get(self.resource)
    }

    /// What is wrong and no default can mend.
    fn trouble(&self) -> Option<String> {
        let name = quoted(self.container.name);
        let resource = self.resource;
        match (&self.request, &self.limit) {
            (Amount::Unreadable(text), _) => {
                Some(format!("container {name} has the {resource} request {text:?}, which is no quantity"))
            }
            (_, Amount::Unreadable(text)) => {
                Some(format!("container {name} has the {resource} limit {text:?}, which is no quantity"))
            }
            (Amount::Set(request), Amount::Set(limit)) if request > limit => {
                Some(format!("container {name} requests more {resource} than its limit allows"))
            }
            _ => None,
        }
    }

    fn is_incomplete(&self) -> bool {
        matches!(self.request, Amount::Missing) || matches!(self.limit, Amount::Missing)
    }

    /// What must be added, as (request, limit).
    fn missing(&self, rules: &RulesConfig) -> (Option<Value>, Option<Value>) {
        let (request, limit) = match self.resource {
            "cpu" => (&rules.cpu_request, &rules.cpu_limit),
            _ => (&rules.memory_request, &rules.memory_limit),
        };
        let is_above =
            |default: &str, bound: f64| quantity::parse(&json!(default)).is_some_and(|value| value > bound);
        match (&self.request, &self.limit) {
            (Amount::Missing, Amount::Missing) => (Some(json!(request)), Some(json!(limit))),
            // The API server requests the limit where nothing is requested: a lower request would take away what the
            // container has, and the class Guaranteed from its pod.
            (Amount::Missing, Amount::Set(_)) => (self.written("limits").cloned(), None),
            (Amount::Set(bound), Amount::Missing) => {
                let own = (!is_above(limit, *bound)).then(|| self.written("requests").cloned()).flatten();
                (None, Some(own.unwrap_or_else(|| json!(limit))))
            }
            _ => (None, None),
        }
    }
}

fn complete(editor: &mut Editor, container: &Container<'_>, rules: &RulesConfig) {
    let resources = container.pointer.child("resources");
    let mut blocks: [Map<String, Value>; 2] = [Map::new(), Map::new()];
    for resource in RESOURCES {
        let (request, limit) = Amounts::of(container, resource).missing(rules);
        for (block, value) in blocks.iter_mut().zip([request, limit]) {
            block.extend(value.map(|value| (resource.to_owned(), value)));
        }
    }
    let additions = BLOCKS.iter().zip(blocks).filter(|(_, block)| !block.is_empty());
    if !editor.value(&resources).is_some_and(Value::is_object) {
        let whole: Map<String, Value> =
            additions.map(|(key, block)| ((*key).to_owned(), Value::Object(block))).collect();
        if !whole.is_empty() {
            editor.set(&resources, Value::Object(whole));
        }
        return;
    }
    for (key, block) in additions {
        add_block(editor, &resources.child(key), block);
    }
}

fn add_block(editor: &mut Editor, at: &Pointer, block: Map<String, Value>) {
    if editor.value(at).is_some_and(Value::is_object) {
        for (resource, value) in block {
            editor.set(&at.child(&resource), value);
        }
    } else {
        editor.set(at, Value::Object(block));
    }
}

const SCOPE: Scope = Scope {
    containers: |_, container| {
        let open = |amounts: Amounts<'_, '_>| amounts.trouble().is_some() || amounts.is_incomplete();
        container.kind != ContainerKind::Ephemeral
            && RESOURCES.into_iter().any(|resource| open(Amounts::of(container, resource)))
    },
    may: &[
        may("{container}/resources/requests/cpu", &[OPEN_AMOUNT]),
        may("{container}/resources/requests/memory", &[OPEN_AMOUNT]),
        may("{container}/resources/limits/cpu", &[OPEN_AMOUNT]),
        may("{container}/resources/limits/memory", &[OPEN_AMOUNT]),
    ],
    companion: None,
};

const OPEN_AMOUNT: To =
    To::If("a quantity above 0, where there was none or requests exceed limits", is_open_amount);

fn is_open_amount(site: &Site<'_, '_>) -> bool {
    let (Some([before, _]), Some(block), Some(resource)) =
        (site.containers, site.container_key(1), site.key())
    else {
        return false;
    };
    let Some(resource) = RESOURCES.into_iter().find(|known| *known == resource) else { return false };
    let is_above_zero = site.change.is.and_then(quantity::parse).is_some_and(|amount| amount > 0.0);
    let was_missing = matches!(amount(before, block, resource), Amount::Missing);
    is_above_zero && (was_missing || Amounts::of(before, resource).trouble().is_some())
}

impl Policy for SetRequestsLimits {
    fn id(&self) -> PolicyId {
        PolicyId::SetRequestsLimits
    }

    fn checks(&self) -> &'static [Check] {
        &[CPU, MEMORY]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let demands = [(CPU, "requests", "cpu", "cpu request"), (MEMORY, "limits", "memory", "memory limit")];
        let mut findings = Vec::new();
        for (check, block, resource, words) in demands {
            for container in with_resources(view) {
                if matches!(amount(container, block, resource), Amount::Missing) {
                    findings.push(Finding {
                        policy: self.id(),
                        check: check.id,
                        message: format!("container {} has {words} 0", quoted(container.name)),
                        pointer: view.nearest(container.pointer.join(&["resources", block, resource])),
                    });
                }
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for container in with_resources(view) {
            let trouble =
                RESOURCES.into_iter().find_map(|resource| Amounts::of(container, resource).trouble());
            if let Some(trouble) = trouble {
                return Fix::NeedsReview { reason: format!("{trouble}; decide on requests and limits") };
            }
            complete(&mut editor, container, rules);
        }
        Fix::of(editor, [Caution::ResourcesGuessed])
    }

    fn cleared(&self, view: &View<'_>, _rules: &RulesConfig) -> Vec<String> {
        let mut errors = Vec::new();
        for container in with_resources(view) {
            for resource in RESOURCES {
                let amounts = Amounts::of(container, resource);
                errors.extend(amounts.trouble());
                for (amount, word) in [(&amounts.request, "request"), (&amounts.limit, "limit")] {
                    if matches!(amount, Amount::Missing) {
                        errors.push(format!("container {} has no {resource} {word}", quoted(container.name)));
                    }
                }
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, findings, fix_of, fixture_holds, messages, review_of};

    const BASE: &str = "/spec/containers/0/resources";

    fn pod(resources: &str) -> Document {
        document(&format!("kind: Pod\nspec: {{containers: [{{name: a, resources: {resources}}}]}}"))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&SetRequestsLimits);
    }

    #[test]
    fn a_zero_or_absent_value_is_found_in_every_container_that_may_have_resources() {
        let document = document(
            "kind: Job\nspec: {template: {spec: {containers: [{name: a, resources: {requests: {cpu: '0'}, limits: {memory: 0}}}], initContainers: [{name: b, resources: {requests: {cpu: 2}, limits: {memory: 1Gi}}}, {name: c, resources: null}], ephemeralContainers: [{name: d}]}}}",
        );
        assert_eq!(
            messages(&SetRequestsLimits, &document),
            [
                r#"container "a" has cpu request 0"#,
                r#"container "c" has cpu request 0"#,
                r#"container "a" has memory limit 0"#,
                r#"container "c" has memory limit 0"#,
            ]
        );
        let pointers: Vec<_> = findings(&SetRequestsLimits, &document)
            .into_iter()
            .map(|finding| finding.pointer.to_string())
            .collect();
        assert_eq!(pointers[0], "/spec/template/spec/containers/0/resources/requests/cpu");
        assert_eq!(pointers[1], "/spec/template/spec/initContainers/1/resources");
    }

    #[test]
    fn nothing_there_takes_one_operation() {
        let whole = json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}});
        let added = fix_of(&SetRequestsLimits, &document("kind: Pod\nspec: {containers: [{name: a}]}"));
        assert_eq!(added, json!([{"op": "add", "path": BASE, "value": whole}]));
        assert_eq!(fix_of(&SetRequestsLimits, &pod("null"))[0]["op"], "replace");
    }

    #[test]
    fn only_missing_keys_are_added() {
        assert_eq!(
            fix_of(&SetRequestsLimits, &pod("{limits: {cpu: '1', memory: 1Gi}}")),
            json!([{"op": "add", "path": format!("{BASE}/requests"), "value": {"cpu": "1", "memory": "1Gi"}}])
        );
        assert_eq!(
            fix_of(
                &SetRequestsLimits,
                &pod(
                    "{requests: {cpu: 2, ephemeral-storage: 1Gi}, limits: {memory: 300M, hugepages-2Mi: 4Mi}}"
                )
            ),
            json!([
                {"op": "add", "path": format!("{BASE}/requests/memory"), "value": "300M"},
                {"op": "add", "path": format!("{BASE}/limits/cpu"), "value": 2}
            ])
        );
    }

    #[test]
    fn defaults_bow_to_what_the_user_wrote() {
        assert_eq!(
            fix_of(&SetRequestsLimits, &pod("{limits: {memory: 64Mi}}")),
            json!([
                {"op": "add", "path": format!("{BASE}/requests"), "value": {"cpu": "100m", "memory": "64Mi"}},
                {"op": "add", "path": format!("{BASE}/limits/cpu"), "value": "500m"}
            ])
        );
        assert_eq!(
            fix_of(&SetRequestsLimits, &pod("{requests: {cpu: 50m, memory: 20G}, limits: {cpu: 50m}}")),
            json!([{"op": "add", "path": format!("{BASE}/limits/memory"), "value": "20G"}])
        );
        assert_eq!(
            fix_of(&SetRequestsLimits, &pod("{requests: {memory: 1Mi}, limits: {cpu: 10m, memory: '0'}}")),
            json!([
                {"op": "add", "path": format!("{BASE}/requests/cpu"), "value": "10m"},
                {"op": "replace", "path": format!("{BASE}/limits/memory"), "value": "256Mi"}
            ])
        );
    }

    #[test]
    fn what_only_the_user_can_decide_is_asked() {
        let review = |resources| review_of(&SetRequestsLimits, &pod(resources), &Neighbours::Unknown);
        assert_eq!(
            review("{requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 500m}}"),
            "container \"a\" requests more cpu than its limit allows; decide on requests and limits"
        );
        assert!(
            review("{requests: {cpu: '{{ .cpu }}'}}")
                .contains("cpu request \"{{ .cpu }}\", which is no quantity")
        );
        assert!(review("{limits: {memory: -1}}").contains("memory limit \"-1\""));
    }

    #[test]
    fn a_request_above_its_limit_is_not_cleared() {
        let document = pod("{requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 500m, memory: 1Gi}}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert_eq!(SetRequestsLimits.detect(&view), []);
        assert_eq!(SetRequestsLimits.cleared(&view, &RulesConfig::default()).len(), 1);
    }
}
