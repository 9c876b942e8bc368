//! What the policies about roles and their bindings share: which rules a role has, and what they grant.
//!
//! A power counts where a rule names its resource or its verb. A rule that has both by `*` grants everything, and is
//! checked by `wildcard_in_rules`. Left out are the roles of the API server itself, which it writes anew at its start
//! (label `kubernetes.io/bootstrapping`), and the rules of an aggregated role, which are replaced by those of the roles
//! that it selects. A role that is itself selected is marked: what it grants, others grant, too.

use domain::config::RulesConfig;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy};
use super::message::quoted_list;
use super::pod_security::{field, text};
use super::reviewed::NO_CHANGE;
use super::scope::Scope;
use crate::k8s::View;

const GROUP: &str = "rbac.authorization.k8s.io";
const AGGREGATES: &str = "rbac.authorization.k8s.io/aggregate-to-";
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";

/// Where objects of a resource live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// In a namespace: a Role can grant it.
    Namespace,
    /// In no namespace: a Role that lists it grants nothing.
    Cluster,
}

/// What it means that a rule names the objects it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// The power is narrow then, and does not count.
    Narrow,
    /// One object is enough: the power counts all the same.
    Enough,
}

/// Something that a rule can grant.
pub(super) struct Power {
    /// What its holder can do, as the end of the sentence *holders of the role can …*.
    pub(super) what: &'static str,
    /// The API group.
    pub(super) group: &'static str,
    /// The resources: any of them.
    pub(super) resources: &'static [&'static str],
    /// The verbs: any of them.
    pub(super) verbs: &'static [&'static str],
    /// Where the objects live.
    pub(super) reach: Reach,
    /// What names of objects mean.
    pub(super) named: Named,
}

/// A policy about what roles grant.
pub(super) struct Grants {
    /// Which one.
    pub(super) id: PolicyId,
    /// Its one check.
    pub(super) checks: &'static [Check],
    /// What a role should not grant.
    pub(super) powers: &'static [Power],
    /// What a person must decide, as one sentence without its full stop.
    pub(super) decide: &'static str,
}

impl Policy for Grants {
    fn id(&self) -> PolicyId {
        self.id
    }

    fn checks(&self) -> &'static [Check] {
        self.checks
    }

    fn scope(&self) -> &'static Scope {
        &NO_CHANGE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let Some(check) = self.checks.first() else { return Vec::new() };
        let mut findings = Vec::new();
        for (index, rule) in rules(view) {
            for power in self.powers {
                let Some((verbs, resources)) = granted(view, rule, power) else { continue };
                let also = aggregating(view);
                let also = if also.is_empty() {
                    String::new()
                } else {
                    format!(", and so can those of the ClusterRoles {}", quoted_list(also))
                };
                findings.push(Finding {
                    policy: self.id,
                    check: check.id,
                    message: format!(
                        "holders of the role can {} ({} on {}){also}",
                        power.what,
                        quoted_list(verbs),
                        quoted_list(resources)
                    ),
                    pointer: Pointer::of(["rules"]).index(index),
                });
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        if self.detect(view).is_empty() {
            return Fix::NotApplicable { reason: "the document does not violate the policy".to_owned() };
        }
        Fix::NeedsReview { reason: self.decide.to_owned() }
    }
}

/// Whether the object is of one of the kinds, and not one that the API server writes itself.
pub(super) fn is_one_of(view: &View<'_>, kinds: &[&str]) -> bool {
    if !kinds.contains(&view.identity.kind.as_str()) {
        return false;
    }
    let labels = view.metadata().and_then(|metadata| metadata.get("labels"));
    let is_own = view.identity.api_version.is_empty() || view.identity.group() == GROUP;
    is_own && labels.is_none_or(|labels| labels.get(BOOTSTRAPPING).is_none())
}

/// The rules of a role, with their indices.
fn rules<'a>(view: &View<'a>) -> impl Iterator<Item = (usize, &'a Map<String, Value>)> + use<'a> {
    let fields = view.value.as_object().filter(|_| is_one_of(view, &["Role", "ClusterRole"]));
    let rules = fields
        .filter(|fields| field(fields, "aggregationRule").is_none())
        .and_then(|fields| fields.get("rules"));
    let rules = rules.and_then(Value::as_array).into_iter().flatten().enumerate();
    rules.filter_map(|(index, rule)| Some((index, rule.as_object()?)))
}

/// The roles that take over the rules of this one, by the labels of the API server's own.
fn aggregating<'a>(view: &View<'a>) -> Vec<&'a str> {
    let labels = view.metadata().and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
    let labels = labels.into_iter().flatten().filter(|(_, value)| value.as_str() == Some("true"));
    labels.filter_map(|(key, _)| key.strip_prefix(AGGREGATES)).collect()
}

/// The verbs and resources by which a rule grants a power.
fn granted<'a>(
    view: &View<'_>,
    rule: &'a Map<String, Value>,
    power: &Power,
) -> Option<(Vec<&'a str>, Vec<&'a str>)> {
    if power.reach == Reach::Cluster && view.identity.kind == "Role" {
        return None;
    }
    if power.named == Named::Narrow && texts(rule, "resourceNames").next().is_some() {
        return None;
    }
    texts(rule, "apiGroups").find(|group| *group == "*" || *group == power.group)?;
    let verbs: Vec<&str> =
        texts(rule, "verbs").filter(|verb| *verb == "*" || power.verbs.contains(verb)).collect();
    let resources: Vec<&str> =
        texts(rule, "resources").filter(|text| power.resources.iter().any(|it| covers(text, it))).collect();
    let is_said = verbs.iter().any(|verb| *verb != "*") || resources.iter().any(|resource| *resource != "*");
    (!verbs.is_empty() && !resources.is_empty() && is_said).then_some((verbs, resources))
}

/// Whether the resource of a rule is or includes a resource: all, itself, or `*/SUBRESOURCE`. There is no `RESOURCE/*`.
fn covers(listed: &str, resource: &str) -> bool {
    let is_any_of_subresource = || {
        let subresource = listed.strip_prefix("*/").filter(|subresource| !subresource.is_empty());
        subresource.is_some() && subresource == resource.split_once('/').map(|(_, subresource)| subresource)
    };
    listed == "*" || listed == resource || is_any_of_subresource()
}

fn texts<'a>(fields: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let list = fields.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// A subject of a binding.
pub(super) struct Subject<'a> {
    /// Where it stands.
    pub(super) at: Pointer,
    /// `User`, `Group` or `ServiceAccount`.
    pub(super) kind: &'a str,
    /// Its name.
    pub(super) name: &'a str,
}

/// The subjects of a binding, and the name of the role that it gives them. None for other kinds.
pub(super) fn subjects<'a>(view: &View<'a>) -> (Vec<Subject<'a>>, &'a str) {
    let binding = view.value.as_object().filter(|_| is_one_of(view, &["RoleBinding", "ClusterRoleBinding"]));
    let Some(binding) = binding else { return (Vec::new(), "") };
    let role = binding.get("roleRef").and_then(Value::as_object).map(|role| text(role, "name"));
    let list = binding.get("subjects").and_then(Value::as_array).into_iter().flatten().enumerate();
    let subjects = list.filter_map(|(index, subject)| {
        let subject = subject.as_object()?;
        let at = Pointer::of(["subjects"]).index(index);
        Some(Subject { at, kind: text(subject, "kind"), name: text(subject, "name") })
    });
    (subjects.collect(), role.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::document;

    const POWER: Power = Power {
        what: "read",
        group: "apps",
        resources: &["deployments", "deployments/scale"],
        verbs: &["get"],
        reach: Reach::Namespace,
        named: Named::Narrow,
    };

    fn grants(kind: &str, rule: &str, power: &Power) -> Option<String> {
        let document = document(&format!("apiVersion: {GROUP}/v1\nkind: {kind}\nrules: [{rule}]"));
        let view = View::new(&document, &Neighbours::Unknown);
        let (_, rule) = rules(&view).next()?;
        let (verbs, resources) = granted(&view, rule, power)?;
        Some(format!("{} on {}", verbs.join(" "), resources.join(" ")))
    }

    #[test]
    fn a_rule_grants_what_the_api_server_lets_it() {
        for (groups, resources, verbs, expected) in [
            ("apps", "deployments", "get, list", Some("get on deployments")),
            ("'*'", "deployments, pods", "'*'", Some("* on deployments")),
            ("apps", "'*'", "get", Some("get on *")),
            ("apps", "'*'", "'*'", None),
            ("apps", "'*', deployments", "'*'", Some("* on * deployments")),
            ("apps", "'*/scale'", "get", Some("get on */scale")),
            ("apps", "'deployments/*'", "get", None),
            ("''", "deployments", "get", None),
            ("apps", "deployments", "list", None),
            ("apps", "'*/'", "get", None),
        ] {
            let rule = format!("{{apiGroups: [{groups}], resources: [{resources}], verbs: [{verbs}]}}");
            assert_eq!(grants("Role", &rule, &POWER).as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn names_and_reach_narrow_it() {
        let rule = "{apiGroups: [apps], resources: [deployments], verbs: [get], resourceNames: [a]}";
        assert_eq!(grants("Role", rule, &POWER), None);
        assert!(grants("Role", rule, &Power { named: Named::Enough, ..POWER }).is_some());
        let rule = "{apiGroups: [apps], resources: [deployments], verbs: [get]}";
        let cluster = Power { reach: Reach::Cluster, ..POWER };
        assert_eq!(grants("Role", rule, &cluster), None);
        assert!(grants("ClusterRole", rule, &cluster).is_some());
    }

    #[test]
    fn roles_that_others_write_are_left_out_and_selected_ones_are_marked() {
        let view_of = |head: &str| {
            let rules = "rules: [{apiGroups: [apps], resources: [deployments], verbs: [get]}]";
            document(&format!("{head}\n{rules}"))
        };
        let count = |head: &str| {
            let document = view_of(head);
            rules(&View::new(&document, &Neighbours::Unknown)).count()
        };
        assert_eq!(count("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole"), 1);
        assert_eq!(count("kind: Role"), 1);
        for other in [
            "apiVersion: iam.example.com/v1\nkind: Role",
            "kind: ClusterRole\naggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}",
            "kind: ClusterRole\nmetadata: {labels: {kubernetes.io/bootstrapping: rbac-defaults}}",
            "kind: RoleBinding",
        ] {
            assert_eq!(count(other), 0, "{other}");
        }
        let selected = view_of(
            "kind: ClusterRole\nmetadata: {labels: {rbac.authorization.k8s.io/aggregate-to-edit: 'true', rbac.authorization.k8s.io/aggregate-to-view: 'false'}}",
        );
        assert_eq!(aggregating(&View::new(&selected, &Neighbours::Unknown)), ["edit"]);
    }
}
