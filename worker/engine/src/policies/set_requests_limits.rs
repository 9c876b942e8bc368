//! `set_requests_limits`: CPU and memory are requested and limited.
//!
//! # What it checks
//! The CPU request and the memory limit of every container (kube-linter `unset-cpu-requirements` and
//! `unset-memory-requirements`); a zero counts as absent. A value that no decoder reads as a quantity (`64mi`, a placeholder)
//! is found as well. What the pod says for all its containers (`spec.resources`) counts for each of them. A repair must leave
//! all four values present, above zero, and no request above its limit. Ephemeral containers are left out: the API server
//! allows them no resources.
//!
//! # Why
//! Without a request the scheduler packs nodes blindly; without a memory limit one leak takes its node down
//! (Kubernetes documentation, *Resource Management for Pods and Containers*).
//!
//! # Repair
//! Only what is missing is added: a limit is the larger of its configured default and the container's request; a request
//! is the container's limit, as the API server defaults it, and the configured default where there is no limit. What the
//! user wrote stays as it is, numbers included. A pod that requests a resource for its containers and does not limit it gets
//! the limit where the request stands. A value that is no quantity, or a request above its limit, is the user's to decide.
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
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::resource_amounts::{
    Amount, Amounts, BLOCKS, RESOURCES, amount, missing_pod_limit, unreadable, with_resources,
};
use super::scope::{Scope, Site, To, may};
use crate::edit::Editor;
use crate::k8s::quantity::Quantity;
use crate::k8s::{Container, ContainerKind, View};

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

fn complete(editor: &mut Editor, view: &View<'_>, container: &Container<'_>, rules: &RulesConfig) {
    let resources = container.pointer.child("resources");
    let mut blocks: [Map<String, Value>; 2] = [Map::new(), Map::new()];
    for resource in RESOURCES {
        let missing = Amounts::of(view, container, resource).missing(rules);
        for (block, value) in blocks.iter_mut().zip(missing) {
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

/// Limits what the pods request for all their containers.
fn complete_pods(editor: &mut Editor, view: &View<'_>, rules: &RulesConfig) {
    for pod in &view.pods {
        for resource in RESOURCES {
            if let Some(limit) = missing_pod_limit(view, pod, resource, rules) {
                editor.set(&pod.pointer.join(&["resources", "limits", resource]), limit);
            }
        }
    }
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| {
        let open = |amounts: Amounts<'_>| amounts.trouble().is_some() || amounts.is_incomplete();
        container.kind != ContainerKind::Ephemeral
            && RESOURCES.into_iter().any(|resource| open(Amounts::of(view, container, resource)))
    },
    may: &[
        may("{container}/resources/requests/cpu", &[OPEN_AMOUNT]),
        may("{container}/resources/requests/memory", &[OPEN_AMOUNT]),
        may("{container}/resources/limits/cpu", &[OPEN_AMOUNT]),
        may("{container}/resources/limits/memory", &[OPEN_AMOUNT]),
        may("{pod}/resources/limits/cpu", &[POD_LIMIT]),
        may("{pod}/resources/limits/memory", &[POD_LIMIT]),
    ],
    companion: None,
};

const OPEN_AMOUNT: To =
    To::If("a quantity above 0, where there was none or requests exceed limits", is_open_amount);

const POD_LIMIT: To =
    To::If("a quantity above 0, where the pod requests one and limits none", is_open_pod_limit);

fn is_above_zero(site: &Site<'_, '_>) -> bool {
    site.change.is.and_then(Quantity::of).is_some_and(Quantity::is_positive)
}

fn known(resource: Option<&str>) -> Option<&'static str> {
    RESOURCES.into_iter().find(|known| Some(*known) == resource)
}

fn is_open_amount(site: &Site<'_, '_>) -> bool {
    let (Some([before, _]), Some(block), Some(resource)) =
        (site.containers, site.container_key(1), known(site.key()))
    else {
        return false;
    };
    let amounts = Amounts::of(site.before, before, resource);
    let was_missing = amount(before.fields.get("resources"), block, resource) == Amount::Missing;
    is_above_zero(site) && (was_missing || amounts.trouble().is_some())
}

fn is_open_pod_limit(site: &Site<'_, '_>) -> bool {
    let (Some([before, _]), Some(resource)) = (site.pods, known(site.key())) else { return false };
    let was_missing = missing_pod_limit(site.before, before, resource, site.rules).is_some();
    is_above_zero(site) && was_missing
}

/// What a scanner of files finds: no CPU request, no memory limit.
fn unset(view: &View<'_>) -> Vec<Finding> {
    let demands = [(CPU, "requests", "cpu", "cpu request"), (MEMORY, "limits", "memory", "memory limit")];
    let mut findings = Vec::new();
    for (check, block, resource, words) in demands {
        for container in with_resources(view) {
            let amounts = Amounts::of(view, container, resource);
            if amounts.lacks(block) {
                findings.push(Finding {
                    policy: PolicyId::SetRequestsLimits,
                    check: check.id,
                    message: format!("container {} has {words} 0", quoted(container.name)),
                    pointer: view.nearest(container.pointer.join(&["resources", block, resource])),
                });
            }
        }
    }
    findings
}

/// Amounts that no decoder reads, in the containers and in their pods.
fn unreadable_amounts(view: &View<'_>) -> Vec<Finding> {
    let of_containers = with_resources(view).map(|container| {
        let who = format!("container {}", quoted(container.name));
        (who, &container.pointer, container.fields)
    });
    let of_pods = view.pods.iter().map(|pod| ("the pod".to_owned(), &pod.pointer, pod.spec));
    let mut findings = Vec::new();
    for (who, at, fields) in of_containers.chain(of_pods) {
        for (check, resource) in [CPU, MEMORY].into_iter().zip(RESOURCES) {
            for block in BLOCKS {
                let Amount::Unreadable(text) = amount(fields.get("resources"), block, resource) else {
                    continue;
                };
                findings.push(Finding {
                    policy: PolicyId::SetRequestsLimits,
                    check: check.id,
                    message: unreadable(&who, block, resource, &text),
                    pointer: view.nearest(at.join(&["resources", block, resource])),
                });
            }
        }
    }
    findings
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
        let mut findings = unset(view);
        findings.extend(unreadable_amounts(view));
        findings
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        for container in with_resources(view) {
            let trouble =
                RESOURCES.into_iter().find_map(|resource| Amounts::of(view, container, resource).trouble());
            if let Some(trouble) = trouble {
                return Fix::NeedsReview { reason: format!("{trouble}; decide on requests and limits") };
            }
            complete(&mut editor, view, container, rules);
        }
        complete_pods(&mut editor, view, rules);
        Fix::of(editor, [Caution::ResourcesGuessed])
    }

    fn cleared(&self, view: &View<'_>, _rules: &RulesConfig) -> Vec<String> {
        let mut errors = Vec::new();
        for container in with_resources(view) {
            for resource in RESOURCES {
                let amounts = Amounts::of(view, container, resource);
                errors.extend(amounts.trouble());
                for block in BLOCKS.into_iter().filter(|block| amounts.lacks(block)) {
                    let word = block.trim_end_matches('s');
                    errors.push(format!("container {} has no {resource} {word}", quoted(container.name)));
                }
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;
    use serde_json::json;

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
    fn an_amount_that_no_decoder_reads_is_found_and_never_taken_for_one() {
        for bad in
            ["64mi", "1gi", "{{ .x }}", "${CPU}", "1.2.3", "1 Gi", "ten", "-1", "100mm", "0x10", "1Gib"]
        {
            for (block, word) in [("requests", "request"), ("limits", "limit")] {
                for resource in RESOURCES {
                    let value = |at: &str, name: &str| {
                        let good = if name == "cpu" { "1" } else { "1Gi" };
                        let is_bad = (at, name) == (block, resource);
                        format!("{name}: '{}'", if is_bad { bad } else { good })
                    };
                    let all =
                        BLOCKS.map(|at| format!("{at}: {{{}, {}}}", value(at, "cpu"), value(at, "memory")));
                    let document = pod(&format!("{{{}}}", all.join(", ")));
                    let said =
                        format!("container \"a\" has the {resource} {word} {bad:?}, which is no quantity");
                    assert_eq!(messages(&SetRequestsLimits, &document), [said.as_str()]);
                    let found = findings(&SetRequestsLimits, &document);
                    assert_eq!(found[0].pointer.as_str(), format!("{BASE}/{block}/{resource}"));
                    let reason = review_of(&SetRequestsLimits, &document, &Neighbours::Unknown);
                    assert!(reason.starts_with(&said), "{reason}");
                }
            }
        }
        for good in ["64Mi", "1e9", "1E", "+5", ".5", "5.", "1500m", "' 1Gi '"] {
            let resources =
                format!("{{requests: {{cpu: 1, memory: {good}}}, limits: {{cpu: 1, memory: {good}}}}}");
            assert_eq!(messages(&SetRequestsLimits, &pod(&resources)), [""; 0], "{good}");
        }
    }

    fn shared(shared: &str, containers: &str) -> Document {
        document(&format!("kind: Pod\nspec: {{resources: {shared}, containers: [{containers}]}}"))
    }

    #[test]
    fn resources_of_the_pod_count_for_its_containers() {
        for resources in [
            "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}",
            "{limits: {cpu: 2, memory: 2Gi}}",
        ] {
            for containers in ["{name: a}, {name: b}", "{name: a, resources: {requests: {cpu: 100m}}}"] {
                let document = shared(resources, containers);
                assert_eq!(messages(&SetRequestsLimits, &document), [""; 0], "{resources} {containers}");
                let view = View::new(&document, &Neighbours::Unknown);
                assert_eq!(SetRequestsLimits.cleared(&view, &RulesConfig::default()), [""; 0]);
                let fix = SetRequestsLimits.fix(&view, &RulesConfig::default());
                assert!(matches!(fix, Fix::NotApplicable { .. }), "{resources} {containers}");
            }
        }
        let cpu_alone = shared("{limits: {cpu: 2}}", "{name: a}");
        assert_eq!(messages(&SetRequestsLimits, &cpu_alone), [r#"container "a" has memory limit 0"#]);
        assert_eq!(
            fix_of(&SetRequestsLimits, &cpu_alone),
            json!([{"op": "add", "path": BASE, "value": {"requests": {"memory": "128Mi"}, "limits": {"memory": "256Mi"}}}])
        );
    }

    #[test]
    fn a_limit_that_the_pod_lacks_is_added_to_the_pod() {
        let limits = "/spec/resources/limits";
        assert_eq!(
            fix_of(&SetRequestsLimits, &shared("{requests: {cpu: 1, memory: 64Mi}}", "{name: a}")),
            json!([
                {"op": "add", "path": limits, "value": {"cpu": 1}},
                {"op": "add", "path": format!("{limits}/memory"), "value": "256Mi"}
            ])
        );
        let above = "{name: a, resources: {requests: {memory: 1Mi}, limits: {memory: 1Gi}}}, {name: b}";
        assert_eq!(
            fix_of(&SetRequestsLimits, &shared("{limits: {cpu: 1}, requests: {memory: 64Mi}}", above)),
            json!([{"op": "add", "path": format!("{limits}/memory"), "value": "1073741824"}])
        );
        let broken = shared("{requests: {cpu: 1core}}", "{name: a}");
        assert!(
            messages(&SetRequestsLimits, &broken)[1].starts_with("the pod has the cpu request \"1core\"")
        );
        assert!(review_of(&SetRequestsLimits, &broken, &Neighbours::Unknown).starts_with("the pod has"));
    }

    #[test]
    fn a_request_above_its_limit_is_not_cleared() {
        let document = pod("{requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 500m, memory: 1Gi}}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert_eq!(SetRequestsLimits.detect(&view), []);
        assert_eq!(SetRequestsLimits.cleared(&view, &RulesConfig::default()).len(), 1);
    }
}
