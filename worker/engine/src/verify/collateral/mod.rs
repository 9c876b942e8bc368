//! Collateral: what a repair changes or brings and its policy does not need.
//!
//! A repair is judged by what really differs between the document before and after it, not by its operations, and for
//! every proposer alike. What the policy's [`Scope`] allows is right, what means nothing is nothing,
//! and everything else is collateral.

use std::collections::BTreeMap;

use domain::config::RulesConfig;
use domain::policy::PolicyName;
use serde_json::Value;

use super::meaning;
use crate::difference::{Change, Step, difference};
use crate::k8s::{Container, ContainerKind, Pod, View};
use crate::policies::{self, Anchors, Fit, Scope, Site};

/// The most that is named and counted: a repair with that much has no need of an exact number.
const MOST: usize = 1000;

/// Everything between two documents that the policy does not need, as `word pointer`, and the companions that it does
/// not need. A policy that is not known needs nothing.
pub(super) fn of(
    before: &View<'_>,
    after: &View<'_>,
    policy: &PolicyName,
    rules: &RulesConfig,
    companions: &[Value],
) -> Vec<String> {
    let scope = match policy {
        PolicyName::Known(id) => Some(policies::policy(*id).scope()),
        PolicyName::Unknown(_) => None,
    };
    let mut judge =
        Judge { places: Places::new(before, after), scope, before, after, rules, found: Vec::new() };
    for change in difference(before.value, after.value) {
        judge.change(&change);
    }
    let companions = companions.iter().filter(|companion| {
        let allowed = scope.and_then(|scope| scope.companion);
        !allowed.is_some_and(|allowed| (allowed.is_needed)(before, after, companion))
    });
    judge.found.extend(companions.map(needless_companion));
    judge.found.truncate(MOST);
    judge.found
}

/// How the safety gate begins to name what a policy does not need.
pub const NOT_NEEDED: &str = "not needed for ";

/// How a companion is named that a policy does not need.
pub fn needless_companion(companion: &Value) -> String {
    let text = |pointer| companion.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("companion {} {}", text("/kind"), text("/metadata/name"))
}

/// Where the pods and containers stand.
struct Places<'s, 'a> {
    pods: Vec<PodPlace<'s, 'a>>,
    containers: BTreeMap<(usize, ContainerKind, usize), [&'s Container<'a>; 2]>,
}

struct PodPlace<'s, 'a> {
    spec: Vec<String>,
    metadata: Vec<String>,
    controller: Option<Vec<String>>,
    pods: [&'s Pod<'a>; 2],
}

impl<'s, 'a> Places<'s, 'a> {
    fn new(before: &'s View<'a>, after: &'s View<'a>) -> Self {
        let mut old: BTreeMap<_, _> =
            before.containers.iter().map(|container| (container.pointer.as_str(), container)).collect();
        let mut containers = BTreeMap::new();
        for container in &after.containers {
            let index = container.pointer.as_str().rsplit('/').next().and_then(|index| index.parse().ok());
            if let (Some(was), Some(index)) = (old.remove(container.pointer.as_str()), index) {
                containers.insert((container.pod, container.kind, index), [was, container]);
            }
        }
        let pods = before.pods.iter().zip(&after.pods).map(|(was, is)| PodPlace {
            spec: was.pointer.keys().collect(),
            metadata: was.metadata_pointer.keys().collect(),
            controller: was.controller.as_ref().map(|controller| controller.keys().collect()),
            pods: [was, is],
        });
        Self { pods: pods.collect(), containers }
    }
}

fn begins_with(path: &[Step<'_>], keys: &[String]) -> bool {
    path.len() >= keys.len() && path.iter().zip(keys).all(|(step, key)| step.key() == Some(key))
}

struct Judge<'s, 'a> {
    places: Places<'s, 'a>,
    scope: Option<&'static Scope>,
    before: &'s View<'a>,
    after: &'s View<'a>,
    rules: &'s RulesConfig,
    found: Vec<String>,
}

impl<'a> Judge<'_, 'a> {
    /// Judges a change leaf by leaf. Whether all of it is collateral: then it is named as one.
    fn change(&mut self, change: &Change<'a>) -> bool {
        if self.found.len() >= MOST {
            return true;
        }
        let site = self.site(change);
        // What goes from a place that the policy may empty goes with all that stood there, of whatever type.
        if change.is.is_none() && self.is_right(&site) {
            return false;
        }
        let is_scalar = !change.is.or(change.was).is_some_and(|value| value.is_object() || value.is_array());
        let parts = if is_scalar || !self.may_be_right(&site) { Vec::new() } else { change.parts() };
        let is_leaf = parts.is_empty();
        if is_leaf && self.is_right(&site) {
            return false;
        }
        let named = self.found.len();
        let mut all = true;
        for part in &parts {
            all &= self.change(part);
        }
        if all {
            self.found.truncate(named);
            self.found.push(format!("{} {}", change.word(), change.pointer()));
        }
        all
    }

    fn site<'c>(&'c self, change: &'c Change<'a>) -> Site<'c, 'a> {
        let mut anchors = Anchors::default();
        let (mut pods, mut containers) = (None, None);
        for (index, place) in self.places.pods.iter().enumerate() {
            let at = |keys: &[String]| begins_with(&change.path, keys).then_some(keys.len());
            let spec = at(&place.spec);
            let template = at(&place.metadata);
            anchors.controller = anchors.controller.or_else(|| place.controller.as_deref().and_then(at));
            if spec.is_none() && template.is_none() {
                continue;
            }
            pods = Some(place.pods);
            anchors.template = template;
            anchors.pod = spec;
            if let Some([Step::Key(list), Step::Index(at)]) =
                spec.and_then(|spec| change.path.get(spec..spec + 2))
                && let Some(kind) = ContainerKind::ALL.into_iter().find(|kind| kind.key() == *list)
            {
                containers = self.places.containers.get(&(index, kind, *at)).copied();
                anchors.container = containers.and(spec).map(|spec| spec + 2);
            }
        }
        Site { before: self.before, after: self.after, rules: self.rules, change, anchors, pods, containers }
    }

    /// Whether anything at the place or below it can be right.
    fn may_be_right(&self, site: &Site<'_, 'a>) -> bool {
        let allowed = self.scope.is_some_and(|scope| scope.may.iter().any(|may| site.fit(may.at) != Fit::No));
        allowed || meaning::may_be_nothing(site)
    }

    fn is_right(&self, site: &Site<'_, 'a>) -> bool {
        self.scope.is_some_and(|scope| self.allows(scope, site)) || meaning::is_nothing(site)
    }

    fn allows(&self, scope: &Scope, site: &Site<'_, 'a>) -> bool {
        let accepts =
            |may: &policies::May| site.fit(may.at) == Fit::Yes && may.to.iter().any(|to| to.accepts(site));
        scope.may.iter().any(accepts) && self.is_open(scope, site) && self.spreads_rightly(scope, site)
    }

    /// Whether the change is in a container or a pod that violates the policy, or in neither.
    fn is_open(&self, scope: &Scope, site: &Site<'_, 'a>) -> bool {
        match (site.containers, site.pods) {
            (Some([container, _]), _) => (scope.containers)(self.before, container, self.rules),
            (None, Some([pod, _])) => {
                self.before.pods.iter().position(|it| it.pointer == pod.pointer).is_some_and(|at| {
                    let mut held = self.before.containers.iter().filter(|it| it.pod == at).peekable();
                    held.peek().is_none() || held.any(|it| (scope.containers)(self.before, it, self.rules))
                })
            }
            (None, None) => true,
        }
    }

    /// Whether what a pod says now changes those of its containers alone which violate the policy.
    fn spreads_rightly(&self, scope: &Scope, site: &Site<'_, 'a>) -> bool {
        let Some(key) = meaning::spreads(site) else { return true };
        let in_pod = |[was, _]: &&[&Container<'_>; 2]| {
            site.pods
                .is_some_and(|[pod, _]| self.before.pod_of(was).is_some_and(|own| own.pointer == pod.pointer))
        };
        self.places.containers.values().filter(in_pod).all(|containers| {
            (scope.containers)(self.before, containers[0], self.rules)
                || meaning::is_unmoved(site, *containers, key)
        })
    }
}

#[cfg(test)]
mod tests;
