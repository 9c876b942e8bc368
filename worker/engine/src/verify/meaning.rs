//! Which changes mean nothing: what the API server or the kubelet would have put there by itself, what holds for a
//! container already because its pod says so, and what another field implies.

use domain::image::ImageParts;
use serde_json::Value;

use crate::k8s::quantity::Quantity;
use crate::k8s::{Container, View};
use crate::policies::{Fit, Site};

/// A value that stands for an absent one.
#[derive(Clone, Copy)]
enum Default {
    Flag(bool),
    Number(i64),
    Text(&'static str),
    /// A map or list of nothing.
    Empty,
}

impl Default {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::Flag(flag) => value.as_bool() == Some(flag),
            Self::Number(number) => value.as_i64() == Some(number),
            Self::Text(text) => value.as_str() == Some(text),
            Self::Empty => match value {
                Value::Object(map) => map.values().all(Value::is_null),
                Value::Array(list) => list.is_empty(),
                _ => false,
            },
        }
    }
}

/// Places below one anchor where an absent value stands for another.
type Defaults = &'static [(&'static str, Default)];

/// Places below one anchor whose value other fields imply, or whose order says nothing.
type Implied = &'static [(&'static str, fn(&Site<'_, '_>) -> bool)];

// Defaults of the API server (Kubernetes API reference; `pkg/apis/*/v1/defaults.go`): an absent field means the same.

const DOCUMENT: (Defaults, Implied) = (
    &[
        ("/metadata/annotations", Default::Empty),
        ("/metadata/labels", Default::Empty),
        ("{template}/annotations", Default::Empty),
        ("{template}/labels", Default::Empty),
        ("/spec/sessionAffinity", Default::Text("None")),
        ("/spec/suspend", Default::Flag(false)),
    ],
    &[
        ("/spec/type", |site| {
            site.before.kind() == "Service" && is_default(site, Default::Text("ClusterIP"))
        }),
        ("{controller}/replicas", |site| {
            matches!(
                site.before.kind(),
                "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController"
            ) && is_default(site, Default::Number(1))
        }),
    ],
);

const POD: (Defaults, Implied) = (
    &[
        ("{pod}/affinity", Default::Empty),
        ("{pod}/affinity/podAntiAffinity", Default::Empty),
        ("{pod}/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution", Default::Empty),
        ("{pod}/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution", Default::Empty),
        ("{pod}/dnsPolicy", Default::Text("ClusterFirst")),
        ("{pod}/enableServiceLinks", Default::Flag(true)),
        ("{pod}/hostIPC", Default::Flag(false)),
        ("{pod}/hostNetwork", Default::Flag(false)),
        ("{pod}/hostPID", Default::Flag(false)),
        ("{pod}/imagePullSecrets", Default::Empty),
        ("{pod}/initContainers", Default::Empty),
        ("{pod}/nodeSelector", Default::Empty),
        ("{pod}/schedulerName", Default::Text("default-scheduler")),
        ("{pod}/securityContext", Default::Empty),
        ("{pod}/securityContext/sysctls", Default::Empty),
        ("{pod}/shareProcessNamespace", Default::Flag(false)),
        ("{pod}/terminationGracePeriodSeconds", Default::Number(30)),
        ("{pod}/tolerations", Default::Empty),
        ("{pod}/volumes", Default::Empty),
    ],
    &[
        ("{pod}/restartPolicy", |site| {
            !matches!(site.before.kind(), "Job" | "CronJob") && is_default(site, Default::Text("Always"))
        }),
        ("{pod}/serviceAccount", is_same_account),
        ("{pod}/serviceAccountName", is_same_account),
        ("{pod}/volumes", is_reordered),
    ],
);

const CONTAINER: (Defaults, Implied) = (
    &[
        ("{container}/env", Default::Empty),
        ("{container}/env/*/value", Default::Text("")),
        ("{container}/env/*/valueFrom", Default::Empty),
        ("{container}/envFrom", Default::Empty),
        ("{container}/ports", Default::Empty),
        ("{container}/ports/*/hostPort", Default::Number(0)),
        ("{container}/ports/*/protocol", Default::Text("TCP")),
        ("{container}/resources", Default::Empty),
        ("{container}/resources/limits", Default::Empty),
        ("{container}/resources/requests", Default::Empty),
        ("{container}/securityContext", Default::Empty),
        ("{container}/securityContext/capabilities", Default::Empty),
        ("{container}/securityContext/capabilities/add", Default::Empty),
        ("{container}/securityContext/capabilities/drop", Default::Empty),
        ("{container}/securityContext/privileged", Default::Flag(false)),
        ("{container}/securityContext/procMount", Default::Text("Default")),
        ("{container}/securityContext/readOnlyRootFilesystem", Default::Flag(false)),
        ("{container}/stdin", Default::Flag(false)),
        ("{container}/terminationMessagePath", Default::Text("/dev/termination-log")),
        ("{container}/terminationMessagePolicy", Default::Text("File")),
        ("{container}/tty", Default::Flag(false)),
        ("{container}/volumeMounts", Default::Empty),
        ("{container}/volumeMounts/*/readOnly", Default::Flag(false)),
    ],
    &[
        ("{container}/imagePullPolicy", is_usual_pull_policy),
        ("{container}/ports", is_reordered),
        ("{container}/resources/*/*", is_same_amount),
        ("{container}/securityContext/capabilities/add", is_reordered),
        ("{container}/securityContext/capabilities/drop", is_reordered),
        ("{container}/securityContext/capabilities/drop/*", is_dropped_anyway),
        ("{container}/securityContext/runAsNonRoot", is_non_root_anyway),
        ("{container}/securityContext/runAsNonRoot", is_inherited),
        ("{container}/securityContext/runAsUser", is_inherited),
        ("{container}/securityContext/runAsGroup", is_inherited),
        ("{container}/securityContext/seccompProfile/**", is_inherited),
        ("{container}/volumeMounts", is_reordered),
    ],
);

/// The tables for a place, by its innermost anchor.
const fn tables(site: &Site<'_, '_>) -> (Defaults, Implied) {
    if site.anchors.container.is_some() {
        CONTAINER
    } else if site.anchors.pod.is_some() {
        POD
    } else {
        DOCUMENT
    }
}

/// Whether the change means nothing.
pub(super) fn is_nothing(site: &Site<'_, '_>) -> bool {
    let (defaults, implied) = tables(site);
    defaults.iter().any(|(at, default)| site.fit(at) == Fit::Yes && is_default(site, *default))
        || implied.iter().any(|(at, holds)| site.fit(at) == Fit::Yes && holds(site))
}

/// Whether a change at the place or below it may mean nothing.
pub(super) fn may_be_nothing(site: &Site<'_, '_>) -> bool {
    let (defaults, implied) = tables(site);
    defaults.iter().any(|(at, _)| site.fit(at) != Fit::No)
        || implied.iter().any(|(at, _)| site.fit(at) != Fit::No)
}

/// Whether what a pod says holds for all of its containers which say nothing themselves: a change of the pod's value
/// changes those.
pub(super) fn spreads(site: &Site<'_, '_>) -> Option<&'static str> {
    const INHERITED: [&str; 4] = ["runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"];
    let path = site.change.path.get(site.anchors.pod?..)?;
    let [context, key, ..] = path else { return None };
    if context.key() != Some("securityContext") {
        return None;
    }
    INHERITED.into_iter().find(|inherited| key.key() == Some(inherited))
}

/// Whether a container is as it was, although its pod changed what it says about `key`.
pub(super) fn is_unmoved(site: &Site<'_, '_>, [was, is]: [&Container<'_>; 2], key: &str) -> bool {
    let now = site.after.effective(is, key);
    let is_said = key == "runAsNonRoot" && now == Some(&Value::Bool(true));
    site.before.effective(was, key) == now || (is_said && are_no_root(site, [was, is]))
}

fn is_default(site: &Site<'_, '_>, default: Default) -> bool {
    let is = |value: Option<&Value>| value.is_none_or(|value| default.is(value));
    !matches!(site.change.is, Some(Value::Array(list)) if !list.is_empty())
        && is(site.change.was)
        && is(site.change.is)
}

fn is_reordered(site: &Site<'_, '_>) -> bool {
    matches!((site.change.was, site.change.is), (Some(Value::Array(_)), Some(Value::Array(_))))
}

/// `serviceAccount` is an alias of `serviceAccountName`, which wins.
fn is_same_account(site: &Site<'_, '_>) -> bool {
    let account = |spec: &serde_json::Map<String, Value>| {
        let texts = ["serviceAccountName", "serviceAccount"].map(|key| spec.get(key).and_then(Value::as_str));
        texts.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("default").to_owned()
    };
    let is_text = |value: Option<&Value>| value.is_none_or(Value::is_string);
    let disagrees = |spec: &serde_json::Map<String, Value>| {
        let [newer, older] = ["serviceAccountName", "serviceAccount"].map(|key| spec.get(key));
        newer.is_some() && older.is_some() && newer != older
    };
    site.pods.is_some_and(|[before, after]| {
        account(before.spec) == account(after.spec) && !disagrees(after.spec) && !disagrees(before.spec)
    }) && is_text(site.change.was)
        && is_text(site.change.is)
}

/// The kubelet's choice where none is made (Kubernetes documentation, *Images*).
fn is_usual_pull_policy(site: &Site<'_, '_>) -> bool {
    let Some([_, after]) = site.containers else { return false };
    let image = after.fields.get("image").and_then(Value::as_str).unwrap_or_default();
    let usual = if ImageParts::of(image).is_always_pulled() { "Always" } else { "IfNotPresent" };
    [site.change.was, site.change.is].into_iter().flatten().all(|policy| policy.as_str() == Some(usual))
}

/// A request that is not written is the limit.
fn is_same_amount(site: &Site<'_, '_>) -> bool {
    let (Some(containers), Some(block), Some(resource)) =
        (site.containers, site.container_key(1), site.key())
    else {
        return false;
    };
    let amounts = containers.map(|container| {
        let written = |block: &str| container.fields.get("resources")?.get(block)?.get(resource);
        let limit = if block == "requests" { written("limits") } else { None };
        written(block).filter(|value| !value.is_null()).or(limit).and_then(Quantity::of)
    });
    amounts[0].is_some() && amounts[0] == amounts[1]
}

/// `ALL` covers every other name.
fn is_dropped_anyway(site: &Site<'_, '_>) -> bool {
    let drops_all = |container: &Container<'_>| {
        let capabilities = container.security_context().and_then(|context| context.get("capabilities"));
        let list = capabilities.and_then(|map| map.get("drop")?.as_array());
        let mut names = list.into_iter().flatten().filter_map(Value::as_str);
        names.any(|name| name.eq_ignore_ascii_case("all"))
    };
    let others = [site.change.was, site.change.is].into_iter().flatten();
    let is_name = others.into_iter().all(Value::is_string);
    is_name
        && site.containers.is_some_and(|[before, after]| {
            let decisive = if site.change.is.is_none() { after } else { before };
            drops_all(decisive)
        })
}

/// A numbered user above 0 is no root, so that it need not be said.
fn is_non_root_anyway(site: &Site<'_, '_>) -> bool {
    let is_said = site.change.is == Some(&Value::Bool(true));
    is_said && site.containers.is_some_and(|containers| are_no_root(site, containers))
}

fn are_no_root(site: &Site<'_, '_>, [was, is]: [&Container<'_>; 2]) -> bool {
    user(site.before, was) > 0 && user(site.after, is) > 0
}

fn user(view: &View<'_>, container: &Container<'_>) -> i64 {
    view.effective(container, "runAsUser").and_then(Value::as_i64).unwrap_or_default()
}

/// The container's value goes to its pod, or comes from it.
fn is_inherited(site: &Site<'_, '_>) -> bool {
    let (Some([was, is]), Some(key)) = (site.containers, site.container_key(1)) else { return false };
    site.before.effective(was, key) == site.after.effective(is, key)
}
