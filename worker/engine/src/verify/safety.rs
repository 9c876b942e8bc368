//! Gate *safety*: the patch removes no content of the user and grants no new privilege.
//!
//! Relative to the document: privileges that existed before are not the patch's fault.

use std::collections::{BTreeMap, BTreeSet};

use domain::config::RulesConfig;
use domain::image::ImageParts;
use domain::policy::{PolicyId, PolicyName};
use serde_json::{Map, Value};

use crate::k8s::{Container, ContainerKind, Pod, View, immutable};

/// Why the patched document is not safe.
pub(super) fn errors(
    before: &View<'_>,
    after: &View<'_>,
    policy: &PolicyName,
    rules: &RulesConfig,
) -> Vec<String> {
    let mut errors = Vec::new();
    identity(before, after, &mut errors);
    selectors(before, after, &mut errors);
    existing_object(before, after, &mut errors);
    service(before, after, &mut errors);
    let claims = |view: &View<'_>| view.value.pointer("/spec/volumeClaimTemplates").cloned();
    if claims(before) != claims(after) {
        errors.push("volumeClaimTemplates changed".to_owned());
    }
    if before.pods.len() != after.pods.len() {
        errors.push("the pod template is gone".to_owned());
        return errors;
    }
    for (old, new) in before.pods.iter().zip(&after.pods) {
        host_namespaces(old, new, &mut errors);
        service_account(old, new, policy, &mut errors);
        volumes(old, new, policy, rules, &mut errors);
    }
    containers(before, after, policy, rules, &mut errors);
    errors
}

fn identity(before: &View<'_>, after: &View<'_>, errors: &mut Vec<String>) {
    let fields = |view: &View<'_>| {
        let id = view.identity;
        [
            ("apiVersion", id.api_version.clone()),
            ("kind", id.kind.clone()),
            ("namespace", id.namespace.clone()),
            ("name", id.name.clone()),
        ]
    };
    for ((field, old), (_, new)) in fields(before).into_iter().zip(fields(after)) {
        if old != new {
            errors.push(format!("{field} changed from {old:?} to {new:?}"));
        }
    }
}

/// Selectors of these kinds cannot be changed on a live object (Kubernetes documentation, *Deployments*).
fn selectors(before: &View<'_>, after: &View<'_>, errors: &mut Vec<String>) {
    if !matches!(before.kind(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") {
        return;
    }
    let selector = |view: &View<'_>| view.value.pointer("/spec/selector").cloned();
    let old = selector(before).filter(may_be_live);
    if old.is_some() && old != selector(after) {
        errors.push("the immutable selector changed".to_owned());
    }
}

/// An object that was read from a cluster exists there: what the API server refuses to change stays as it is.
fn existing_object(before: &View<'_>, after: &View<'_>, errors: &mut Vec<String>) {
    if !immutable::is_live(before) {
        return;
    }
    for field in immutable::changed(before, after) {
        errors.push(format!("the API server refuses to change {field} of an existing {}", before.kind()));
    }
}

/// The API server refuses a selector that selects by nothing, or has a wrong type: no live object has one.
fn may_be_live(selector: &Value) -> bool {
    let labels = selector.get("matchLabels").filter(|labels| !labels.is_null());
    let expressions = selector.get("matchExpressions").filter(|expressions| !expressions.is_null());
    let typed_labels =
        labels.is_none_or(|labels| labels.as_object().is_some_and(|map| map.values().all(Value::is_string)));
    let typed_expressions =
        expressions.is_none_or(|list| list.as_array().is_some_and(|list| list.iter().all(Value::is_object)));
    let terms = labels.and_then(Value::as_object).map_or(0, Map::len)
        + expressions.and_then(Value::as_array).map_or(0, Vec::len);
    typed_labels && typed_expressions && terms > 0
}

fn service(before: &View<'_>, after: &View<'_>, errors: &mut Vec<String>) {
    if before.kind() != "Service" {
        return;
    }
    let field = |view: &View<'_>, key: &str| view.spec().and_then(|spec| spec.get(key)).cloned();
    let was_external = field(before, "type") == Some(Value::from("ExternalName"));
    if !was_external && field(after, "type") == Some(Value::from("ExternalName")) {
        errors.push("the Service became an ExternalName".to_owned());
    }
    for key in ["selector", "ports", "clusterIP"] {
        if field(before, key).is_some() && field(after, key).is_none() {
            errors.push(format!("the Service lost its {key}"));
        }
    }
}

fn host_namespaces(old: &Pod<'_>, new: &Pod<'_>, errors: &mut Vec<String>) {
    for flag in ["hostNetwork", "hostPID", "hostIPC"] {
        let on = |pod: &Pod<'_>| pod.spec.get(flag) == Some(&Value::Bool(true));
        if on(new) && !on(old) {
            errors.push(format!("new {flag}"));
        }
    }
}

/// Another account has other rights: only the policy about accounts that do not exist may choose one.
fn service_account(old: &Pod<'_>, new: &Pod<'_>, policy: &PolicyName, errors: &mut Vec<String>) {
    let account = |pod: &Pod<'_>| {
        let named =
            ["serviceAccountName", "serviceAccount"].map(|key| pod.spec.get(key).and_then(Value::as_str));
        named.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("default").to_owned()
    };
    let (was, is) = (account(old), account(new));
    if was != is && *policy != PolicyName::Known(PolicyId::NonExistentServiceAccount) {
        errors.push(format!("the service account changed from {was:?} to {is:?}"));
    }
}

fn by_name<'a>(pod: &Pod<'a>, list: &str) -> BTreeMap<String, &'a Map<String, Value>> {
    let named = |(index, map): (usize, &'a Map<String, Value>)| {
        let name = map.get("name").and_then(Value::as_str);
        (name.map_or_else(|| format!("#{index}"), str::to_owned), map)
    };
    pod.maps(list).map(named).collect()
}

fn volumes(old: &Pod<'_>, new: &Pod<'_>, policy: &PolicyName, rules: &RulesConfig, errors: &mut Vec<String>) {
    let (before, after) = (by_name(old, "volumes"), by_name(new, "volumes"));
    for (name, volume) in &before {
        let Some(patched) = after.get(name) else {
            errors.push(format!("volume {name:?} is gone"));
            continue;
        };
        for source in volume.keys().filter(|key| *key != "name") {
            // A volume of the host may give way to another source: that is what no_host_path is about.
            let excused = source == "hostPath" && *policy == PolicyName::Known(PolicyId::NoHostPath);
            if !patched.contains_key(source) && !excused {
                errors.push(format!("volume {name:?} lost its {source}"));
            }
        }
    }
    for (name, volume) in &after {
        let path =
            |volume: &Map<String, Value>| volume.get("hostPath")?.get("path")?.as_str().map(str::to_owned);
        let new_path =
            path(volume).filter(|new| before.get(name).and_then(|old| path(old)).as_ref() != Some(new));
        if let Some(path) = new_path
            && !rules.host_path_allowlist.iter().any(|allowed| allowed == path.trim_end_matches('/'))
        {
            errors.push(format!("hostPath {path:?} not in allowlist"));
        }
    }
}

type Key = (usize, ContainerKind, String);

fn keyed<'a, 'v>(view: &'a View<'v>) -> BTreeMap<Key, &'a Container<'v>> {
    let key = |container: &Container<'v>| {
        let name = container.name.to_owned();
        let name = if name.is_empty() { container.pointer.to_string() } else { name };
        (container.pod, container.kind, name)
    };
    view.containers.iter().map(|container| (key(container), container)).collect()
}

fn containers(
    before: &View<'_>,
    after: &View<'_>,
    policy: &PolicyName,
    rules: &RulesConfig,
    errors: &mut Vec<String>,
) {
    let (old, new) = (keyed(before), keyed(after));
    let count = |view: &View<'_>| view.containers.len();
    for (key, _) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
        errors.push(format!("container {:?} is gone", key.2));
    }
    if count(after) < count(before) && errors.is_empty() {
        errors.push("a container is gone".to_owned());
    }
    for (key, container) in &new {
        let Some(original) = old.get(key) else {
            errors.push(format!("container {:?} is new", key.2));
            continue;
        };
        image(original, container, policy, rules, errors);
        written_by_the_user(original, container, errors);
        let granted: Vec<String> = privileges(container).difference(&privileges(original)).cloned().collect();
        errors.extend(granted.into_iter().map(|grant| format!("container {:?} gains {grant}", key.2)));
    }
}

fn image(
    old: &Container<'_>,
    new: &Container<'_>,
    policy: &PolicyName,
    rules: &RulesConfig,
    errors: &mut Vec<String>,
) {
    let image = |container: &Container<'_>| container.fields.get("image").cloned();
    let (was, is) = (image(old), image(new));
    if was == is {
        return;
    }
    let Some(is) = is.as_ref().and_then(Value::as_str).filter(|text| !text.trim().is_empty()) else {
        errors.push(format!("container {:?} lost its image", new.name));
        return;
    };
    if *policy != PolicyName::Known(PolicyId::NoLatestTag) {
        errors.push(format!("image of container {:?} changed", new.name));
        return;
    }
    // A tag is what the policy is about; what is run is the user's choice, or that of the image map.
    let was = was.as_ref().and_then(Value::as_str).unwrap_or_default();
    if ImageParts::of(was).repository() != ImageParts::of(is).repository()
        && !rules.images.values().any(|mapped| mapped == is)
    {
        errors.push(format!("image of container {:?} changed from {was:?} to {is:?}", new.name));
    }
}

/// Fields that no policy has any business with.
fn written_by_the_user(old: &Container<'_>, new: &Container<'_>, errors: &mut Vec<String>) {
    for key in ["command", "args", "workingDir", "envFrom", "lifecycle"] {
        if old.fields.get(key) != new.fields.get(key) {
            errors.push(format!("{key} of container {:?} changed", new.name));
        }
    }
    let names = |container: &Container<'_>, list: &str, key: &str| -> BTreeSet<String> {
        let name =
            |(_, map): (usize, &Map<String, Value>)| map.get(key).and_then(Value::as_str).map(str::to_owned);
        container.maps(list).filter_map(name).collect()
    };
    for (list, key) in [("env", "name"), ("volumeMounts", "mountPath")] {
        for lost in names(old, list, key).difference(&names(new, list, key)) {
            errors.push(format!("{list} entry {lost:?} of container {:?} is gone", new.name));
        }
    }
}

/// What a container is allowed beyond the ordinary, as words.
fn privileges(container: &Container<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Some(context) = container.security_context() {
        for flag in ["privileged", "allowPrivilegeEscalation"] {
            if context.get(flag) == Some(&Value::Bool(true)) {
                found.insert(flag.to_owned());
            }
        }
        for id in ["runAsUser", "runAsGroup"] {
            if context.get(id).and_then(Value::as_i64) == Some(0) {
                found.insert(format!("{id} 0"));
            }
        }
        if context.get("procMount").and_then(Value::as_str) == Some("Unmasked") {
            found.insert("procMount Unmasked".to_owned());
        }
        let added = context.get("capabilities").and_then(|capabilities| capabilities.get("add"));
        for capability in added.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            found.insert(format!("capability {}", capability.trim().to_ascii_uppercase()));
        }
    }
    for (_, port) in container.maps("ports") {
        if let Some(number) = port.get("hostPort").and_then(Value::as_u64).filter(|number| *number != 0) {
            found.insert(format!("hostPort {number}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::document;

    fn said(policy: PolicyId, old: &str, new: &str) -> Vec<String> {
        let (before, after) = (document(old), document(new));
        let alone = Neighbours::Unknown;
        let (before, after) = (View::new(&before, &alone), View::new(&after, &alone));
        errors(&before, &after, &PolicyName::Known(policy), &RulesConfig::default())
    }

    #[test]
    fn a_tag_may_change_and_what_is_run_may_not() {
        let pod = |image: &str| format!("kind: Pod\nspec: {{containers: [{{name: a, image: {image:?}}}]}}");
        let change = |old: &str, new: &str| said(PolicyId::NoLatestTag, &pod(old), &pod(new)).len();
        for (old, new) in [
            ("nginx", "nginx:1.27"),
            ("nginx:latest", "docker.io/library/nginx@sha256:ab"),
            ("reg:5000/x:latest", "reg:5000/x:2"),
        ] {
            assert_eq!(change(old, new), 0, "{old} {new}");
        }
        for (old, new) in
            [("nginx", "evil/nginx:1.27"), ("reg:5000/x", "reg:1"), ("a/b", "a/b/c:1"), ("", "busybox:1")]
        {
            assert_eq!(change(old, new), 1, "{old} {new}");
        }
    }

    #[test]
    fn an_account_is_chosen_by_its_own_policy_alone() {
        let pod = |more: &str| format!("kind: Pod\nspec: {{{more}containers: [{{name: a, image: a:1}}]}}");
        let change = |policy, old: &str, new: &str| said(policy, &pod(old), &pod(new)).len();
        assert_eq!(change(PolicyId::RunAsNonRoot, "", "serviceAccountName: admin, "), 1);
        assert_eq!(change(PolicyId::NonExistentServiceAccount, "serviceAccountName: lost, ", ""), 0);
        let renamed = ("serviceAccount: robot, ", "serviceAccountName: robot, ");
        assert_eq!(change(PolicyId::DeprecatedServiceAccountField, renamed.0, renamed.1), 0);
        assert_eq!(change(PolicyId::NoPrivileged, "", "serviceAccountName: default, "), 0);
    }

    #[test]
    fn what_an_existing_object_keeps_may_not_change() {
        for (kind, old, new, field) in [
            ("Job", "template: {a: b}", "template: {a: c}", "/spec/template"),
            ("Pod", "hostPID: true", "hostPID: false", "/spec"),
            ("StatefulSet", "serviceName: a", "serviceName: b", "/spec/serviceName"),
        ] {
            let object = |metadata: &str, spec: &str| {
                format!("kind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}")
            };
            let live = "uid: 4f53cda1-8c2b-aa0c-0354-bb5f9a3ecbe5";
            let policy = PolicyId::NoHostPid;
            let errors = said(policy, &object(live, old), &object(live, new));
            assert_eq!(errors, [format!("the API server refuses to change {field} of an existing {kind}")]);
            assert_eq!(said(policy, &object("name: a", old), &object("name: a", new)), [""; 0], "{kind}");
        }
    }

    #[test]
    fn a_selector_that_selects_may_not_change() {
        let errors_of = |old: &str| {
            let with =
                |selector: &str| document(&format!("kind: Deployment\nspec: {{selector: {selector}}}"));
            let (before, after) = (with(old), with("{matchLabels: {app: web}}"));
            let alone = Neighbours::Unknown;
            let (before, after) = (View::new(&before, &alone), View::new(&after, &alone));
            errors(
                &before,
                &after,
                &PolicyName::Known(PolicyId::MismatchingSelector),
                &RulesConfig::default(),
            )
        };
        for live in ["{matchLabels: {a: b}}", "{matchExpressions: [{key: a, operator: Exists}]}"] {
            assert_eq!(errors_of(live), ["the immutable selector changed"], "{live}");
        }
        for none in [
            "null",
            "{}",
            "{matchLabels: {}}",
            "{matchLabels: [a]}",
            "{matchExpressions: []}",
            "[{a: b}]",
            "{matchLabels: {a: 5}}",
        ] {
            assert_eq!(errors_of(none), Vec::<String>::new(), "{none}");
        }
    }
}
