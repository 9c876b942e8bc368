//! Requests and limits of CPU and memory as they are written: in a container, or in its pod for all its containers.

use domain::config::RulesConfig;
use serde_json::{Value, json};

use super::message::quoted;
use crate::k8s::quantity::Quantity;
use crate::k8s::{Container, ContainerKind, Pod, View};

pub(super) const RESOURCES: [&str; 2] = ["cpu", "memory"];
pub(super) const BLOCKS: [&str; 2] = ["requests", "limits"];

/// One value of a container or a pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Amount {
    /// Absent, null, empty or zero.
    Missing,
    /// Above zero.
    Set(Quantity),
    /// Not a quantity as the API server decodes one, or below zero.
    Unreadable(String),
}

/// Reads `resources.BLOCK.RESOURCE`.
pub(super) fn amount(resources: Option<&Value>, block: &str, resource: &str) -> Amount {
    let value = resources.and_then(|resources| resources.get(block)?.get(resource));
    match value {
        None | Some(Value::Null) => Amount::Missing,
        Some(Value::String(text)) if text.is_empty() => Amount::Missing,
        Some(value) => match Quantity::of(value) {
            Some(Quantity::ZERO) => Amount::Missing,
            Some(amount) if amount.is_positive() => Amount::Set(amount),
            _ => Amount::Unreadable(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        },
    }
}

/// The containers that may have resources: the API server allows ephemeral ones none.
pub(super) fn with_resources<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Container<'a>> {
    view.containers.iter().filter(|container| container.kind != ContainerKind::Ephemeral)
}

/// The request and the limit of one resource, in one place.
pub(super) struct Pair<'a> {
    resources: Option<&'a Value>,
    resource: &'static str,
    pub(super) request: Amount,
    pub(super) limit: Amount,
}

impl<'a> Pair<'a> {
    fn of(resources: Option<&'a Value>, resource: &'static str) -> Self {
        let [request, limit] = BLOCKS.map(|block| amount(resources, block, resource));
        Self { resources, resource, request, limit }
    }

    fn written(&self, block: &str) -> Option<&'a Value> {
        self.resources?.get(block)?.get(self.resource)
    }

    fn is_missing(&self) -> bool {
        self.request == Amount::Missing && self.limit == Amount::Missing
    }

    /// What is written and is not a quantity, each with its block.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let amounts = BLOCKS.into_iter().zip([&self.request, &self.limit]);
        amounts.filter_map(|(block, amount)| match amount {
            Amount::Unreadable(text) => Some((block, text.as_str())),
            Amount::Missing | Amount::Set(_) => None,
        })
    }

    /// What is wrong and no default can mend.
    fn trouble(&self, who: &str) -> Option<String> {
        let resource = self.resource;
        if let Some((block, text)) = self.unreadable().next() {
            return Some(unreadable(who, block, resource, text));
        }
        match (&self.request, &self.limit) {
            (Amount::Set(request), Amount::Set(limit)) if request > limit => {
                Some(format!("{who} requests more {resource} than its limit allows"))
            }
            _ => None,
        }
    }
}

/// A sentence about a value that is not a quantity.
pub(super) fn unreadable(who: &str, block: &str, resource: &str, text: &str) -> String {
    format!("{who} has the {resource} {} {text:?}, which is no quantity", block.trim_end_matches('s'))
}

/// What is written about one resource of a container, read once.
///
/// A pod may have `resources` of its own, which its containers share (Kubernetes documentation, *Pod-level resource
/// specification*): where it says anything about the resource, nothing is missing in its containers.
pub(super) struct Amounts<'a> {
    who: String,
    pub(super) own: Pair<'a>,
    /// The pod's.
    pub(super) shared: Pair<'a>,
}

impl<'a> Amounts<'a> {
    pub(super) fn of(view: &View<'a>, container: &Container<'a>, resource: &'static str) -> Self {
        let shared = view.pod_of(container).and_then(|pod| pod.spec.get("resources"));
        Self {
            who: format!("container {}", quoted(container.name)),
            own: Pair::of(container.fields.get("resources"), resource),
            shared: Pair::of(shared, resource),
        }
    }

    /// What is wrong and no default can mend.
    pub(super) fn trouble(&self) -> Option<String> {
        self.own.trouble(&self.who).or_else(|| self.shared.trouble("the pod"))
    }

    /// Whether nothing holds for the container under `block`. The API server requests a pod's limit where nothing is
    /// requested.
    pub(super) fn lacks(&self, block: &str) -> bool {
        let is_request = block == "requests";
        let own = if is_request { &self.own.request } else { &self.own.limit };
        if self.shared.is_missing() {
            return *own == Amount::Missing;
        }
        !is_request && *own == Amount::Missing && self.shared.limit == Amount::Missing
    }

    pub(super) fn is_incomplete(&self) -> bool {
        BLOCKS.into_iter().any(|block| self.lacks(block))
    }

    /// What must be added to the container, as (request, limit).
    pub(super) fn missing(&self, rules: &RulesConfig) -> [Option<Value>; 2] {
        if !self.shared.is_missing() {
            return [None, None];
        }
        let (request, limit) = defaults(rules, self.own.resource);
        match (&self.own.request, &self.own.limit) {
            (Amount::Missing, Amount::Missing) => [Some(json!(request)), Some(json!(limit))],
            // The API server requests the limit where nothing is requested: a lower request would take away what the
            // container has, and the class Guaranteed from its pod.
            (Amount::Missing, Amount::Set(_)) => [self.own.written("limits").cloned(), None],
            (Amount::Set(bound), Amount::Missing) => [None, Some(at_least(limit, *bound, &self.own))],
            _ => [None, None],
        }
    }
}

/// The limit that a pod lacks beside the request it has for its containers; `None` where it lacks none.
///
/// The limits of its containers are no part of it: one above the pod's is refused.
pub(super) fn missing_pod_limit(
    view: &View<'_>,
    pod: &Pod<'_>,
    resource: &'static str,
    rules: &RulesConfig,
) -> Option<Value> {
    let shared = Pair::of(pod.spec.get("resources"), resource);
    let (Amount::Set(request), Amount::Missing) = (&shared.request, &shared.limit) else { return None };
    let own = |container: &Container<'_>| match amount(container.fields.get("resources"), "limits", resource)
    {
        Amount::Set(limit) => Some(limit),
        Amount::Missing | Amount::Unreadable(_) => None,
    };
    let in_pod =
        |container: &&Container<'_>| view.pod_of(container).is_some_and(|own| own.pointer == pod.pointer);
    let limits: Vec<Option<Quantity>> = with_resources(view).filter(in_pod).map(own).collect();
    // Every container has its own limit: the pod needs none.
    if !limits.is_empty() && limits.iter().all(Option::is_some) {
        return None;
    }
    let bound = limits.into_iter().flatten().max().map_or(*request, |most| most.max(*request));
    let (_, default) = defaults(rules, resource);
    Some(at_least(default, bound, &shared))
}

fn defaults<'r>(rules: &'r RulesConfig, resource: &str) -> (&'r str, &'r str) {
    match resource {
        "cpu" => (&rules.cpu_request, &rules.cpu_limit),
        _ => (&rules.memory_request, &rules.memory_limit),
    }
}

/// The configured limit, or what is requested where that is more, as it is written.
fn at_least(default: &str, bound: Quantity, pair: &Pair<'_>) -> Value {
    if Quantity::parse(default).is_ok_and(|default| default >= bound) {
        return json!(default);
    }
    match &pair.request {
        Amount::Set(request) if *request == bound => pair.written("requests").cloned().unwrap_or_default(),
        _ => json!(bound.to_string()),
    }
}
