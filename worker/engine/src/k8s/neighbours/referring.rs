//! What a document refers to among the references of an input.

use std::collections::{BTreeMap, BTreeSet};

use domain::record::Neighbours;
use domain::record::reference::{LabelSelector, Reference};
use serde_json::{Map, Value};

use super::super::kinds::known_kind;
use super::super::label_selector;
use super::labels::text_labels;
use crate::document::Document;
use crate::k8s::View;

/// The most references of one sort that are kept for one document.
const MOST: usize = 64;

/// What is looked up by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    ClusterRole,
    ConfigMap,
    Controller,
    NetworkPolicy,
    Role,
    Secret,
    Service,
}

impl Sort {
    fn of(reference: &Reference) -> Self {
        match reference {
            Reference::Controller { .. } => Self::Controller,
            Reference::Service { .. } => Self::Service,
            Reference::Values { kind, .. } if kind == "Secret" => Self::Secret,
            Reference::Values { .. } => Self::ConfigMap,
            Reference::NetworkPolicy { .. } => Self::NetworkPolicy,
            Reference::Role { kind, .. } if kind == "ClusterRole" => Self::ClusterRole,
            Reference::Role { .. } => Self::Role,
        }
    }
}

/// References by sort, namespace (empty for what has none) and name; each with its place among the offers, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct References(BTreeMap<Sort, BTreeMap<String, BTreeMap<String, Vec<usize>>>>);

fn namespace_of(sort: Sort, namespace: &str) -> &str {
    match (sort, namespace) {
        (Sort::ClusterRole, _) => "",
        (_, "") => "default",
        (_, namespace) => namespace,
    }
}

impl References {
    pub(super) fn add(&mut self, at: usize, reference: &Reference) {
        let sort = Sort::of(reference);
        let namespace = namespace_of(sort, reference.namespace()).to_owned();
        let here = self.0.entry(sort).or_default().entry(namespace).or_default();
        here.entry(reference.name().to_owned()).or_default().push(at);
    }

    fn named(&self, sort: Sort, namespace: &str, name: &str) -> impl Iterator<Item = usize> {
        let here = self.0.get(&sort).and_then(|all| all.get(namespace_of(sort, namespace)));
        here.and_then(|here| here.get(name)).into_iter().flatten().copied()
    }

    fn all(&self, sort: Sort, namespace: &str) -> impl Iterator<Item = usize> {
        let here = self.0.get(&sort).and_then(|all| all.get(namespace_of(sort, namespace)));
        here.into_iter().flat_map(BTreeMap::values).flatten().copied()
    }

    fn everywhere(&self, sort: Sort) -> impl Iterator<Item = usize> {
        let all = self.0.get(&sort).into_iter().flat_map(BTreeMap::values);
        all.flat_map(BTreeMap::values).flatten().copied()
    }
}

/// What a document refers to, looked up from one folder.
pub(super) struct Referring<'i> {
    pub(super) references: &'i References,
    /// The reference at a place of the offers, where it may be seen.
    pub(super) visible: &'i dyn Fn(usize) -> Option<&'i Reference>,
}

impl Referring<'_> {
    /// The places of what `document` refers to.
    pub(super) fn of(&self, document: &Document) -> BTreeSet<usize> {
        let (object, namespace) = (&document.value, document.identity.effective_namespace());
        match known_kind(&document.identity) {
            "HorizontalPodAutoscaler" => {
                let name = object.pointer("/spec/scaleTargetRef/name").and_then(Value::as_str);
                self.keep(self.references.named(Sort::Controller, namespace, name.unwrap_or_default()))
            }
            "Ingress" => {
                let names = backends(object).into_iter().map(|(_, name, _)| name);
                names
                    .flat_map(|name| self.keep(self.references.named(Sort::Service, namespace, name)))
                    .collect()
            }
            "PodDisruptionBudget" => self.controllers_of(object, namespace),
            "ServiceMonitor" => self.monitored(object),
            "RoleBinding" | "ClusterRoleBinding" => self.roles(object, namespace),
            _ => self.of_workload(document, namespace),
        }
    }

    fn keep(&self, places: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        places.filter(|at| (self.visible)(*at).is_some()).take(MOST).collect()
    }

    fn controllers_of(&self, budget: &Value, namespace: &str) -> BTreeSet<usize> {
        let wanted = budget.pointer("/spec/selector").map(label_selector::read).unwrap_or_default();
        let wanted = label_selector::query(&wanted);
        let has_it = |at: &usize| match (self.visible)(*at) {
            Some(Reference::Controller { selector: Some(selector), .. }) => {
                label_selector::query(selector) == wanted
            }
            _ => false,
        };
        self.references.all(Sort::Controller, namespace).filter(has_it).take(MOST).collect()
    }

    fn monitored(&self, monitor: &Value) -> BTreeSet<usize> {
        let wanted = monitor.pointer("/spec/selector").map(label_selector::read).unwrap_or_default();
        let is_wanted = |at: &usize| match (self.visible)(*at) {
            Some(Reference::Service { labels, .. }) => label_selector::matches(&wanted, labels),
            _ => false,
        };
        self.references.everywhere(Sort::Service).filter(is_wanted).take(MOST).collect()
    }

    fn roles(&self, binding: &Value, namespace: &str) -> BTreeSet<usize> {
        let text = |key: &str| binding.pointer(key).and_then(Value::as_str).unwrap_or_default();
        let sort = if text("/roleRef/kind") == "ClusterRole" { Sort::ClusterRole } else { Sort::Role };
        let named = self.keep(self.references.named(sort, namespace, text("/roleRef/name")));
        let selectors = named.iter().filter_map(|at| match (self.visible)(*at) {
            Some(Reference::Role { aggregates, .. }) => Some(aggregates),
            _ => None,
        });
        let selectors: Vec<&LabelSelector> = selectors.flatten().collect();
        let is_part = |at: &usize| match (self.visible)(*at) {
            Some(Reference::Role { labels, .. }) => {
                selectors.iter().any(|selector| label_selector::matches(selector, labels))
            }
            _ => false,
        };
        let roles = self.references.all(Sort::ClusterRole, "").filter(|_| !selectors.is_empty());
        let parts: Vec<usize> = roles.filter(is_part).take(MOST).collect();
        named.into_iter().chain(parts).collect()
    }

    fn of_workload(&self, document: &Document, namespace: &str) -> BTreeSet<usize> {
        let view = View::new(document, &Neighbours::Unknown);
        let Some(pod) = view.pods.first() else { return BTreeSet::new() };
        let labels = text_labels(pod.labels());
        // One that is not valid is told of.
        let concerns = |at: &usize| match (self.visible)(*at) {
            Some(Reference::NetworkPolicy { pods, .. }) => {
                label_selector::matches(pods, &labels) || label_selector::invalid(pods).is_some()
            }
            _ => false,
        };
        let policies = self.references.all(Sort::NetworkPolicy, namespace).filter(concerns).take(MOST);
        let variables = view.containers.iter().flat_map(|container| container.maps("env"));
        let values =
            variables.flat_map(|(_, variable)| value_sources(variable)).flat_map(|(kind, source)| {
                let sort = if kind == "Secret" { Sort::Secret } else { Sort::ConfigMap };
                let name = source.get("name").and_then(Value::as_str).unwrap_or_default();
                self.keep(self.references.named(sort, namespace, name))
            });
        policies.chain(values).collect()
    }
}

/// The kinds of the objects that an environment variable takes its value from (one, where it is valid), and the fields that say
/// which.
pub fn value_sources(
    variable: &Map<String, Value>,
) -> impl Iterator<Item = (&'static str, &Map<String, Value>)> {
    let from = variable.get("valueFrom").and_then(Value::as_object);
    let sources = [("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")];
    sources.into_iter().filter_map(move |(key, kind)| Some((kind, from?.get(key)?.as_object()?)))
}

/// A Service that an Ingress sends requests to: the keys that lead to it, its name, and its port.
pub type Backend<'a> = (Vec<String>, &'a str, String);

/// The Services that an Ingress sends requests to.
pub fn backends(ingress: &Value) -> Vec<Backend<'_>> {
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let default =
        ingress.pointer("/spec/defaultBackend").map(|node| (keys(&["spec", "defaultBackend"]), node));
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten().enumerate();
    let paths = rules.flat_map(|(rule, node)| {
        let paths = node.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten().enumerate();
        paths.filter_map(move |(path, node)| {
            let (rule, path) = (rule.to_string(), path.to_string());
            let place = ["spec", "rules", &rule, "http", "paths", &path, "backend"];
            Some((place.map(str::to_owned).to_vec(), node.get("backend")?))
        })
    });
    default.into_iter().chain(paths).filter_map(|(place, node)| backend(place, node)).collect()
}

fn backend(place: Vec<String>, node: &Value) -> Option<Backend<'_>> {
    let service = node.get("service")?.as_object()?;
    let name = service.get("name").and_then(Value::as_str).filter(|name| !name.is_empty())?;
    let port = service.get("port");
    let text = port.and_then(|port| port.get("name")).and_then(Value::as_str).filter(|name| !name.is_empty());
    let number = port.and_then(|port| port.get("number")).and_then(Value::as_i64).unwrap_or_default();
    Some((place, name, text.map_or_else(|| number.to_string(), str::to_owned)))
}

/// The selectors of a network policy that select pods of its own namespace, each with the keys that lead to it: of the pods
/// that it isolates, and of its peers that are named by labels alone.
pub fn pod_selectors(policy: &Value) -> Vec<(Vec<String>, LabelSelector)> {
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let own = policy.pointer("/spec/podSelector").map(label_selector::read).unwrap_or_default();
    let own = (keys(&["spec", "podSelector"]), own);
    let peers = [("ingress", "from"), ("egress", "to")].into_iter().flat_map(|(direction, side)| {
        let rules = policy.get("spec").and_then(|spec| spec.get(direction)).and_then(Value::as_array);
        rules.into_iter().flatten().enumerate().flat_map(move |(rule, node)| {
            let peers = node.get(side).and_then(Value::as_array).into_iter().flatten().enumerate();
            peers.filter_map(move |(peer, node)| {
                let selector = node.get("podSelector").filter(|selector| selector.is_object())?;
                let elsewhere = node.get("namespaceSelector").is_some_and(|selector| !selector.is_null());
                let (rule, peer) = (rule.to_string(), peer.to_string());
                let place =
                    ["spec", direction, &rule, side, &peer, "podSelector"].map(str::to_owned).to_vec();
                (!elsewhere).then(|| (place, label_selector::read(selector)))
            })
        })
    });
    std::iter::once(own).chain(peers).collect()
}

#[cfg(test)]
mod tests {
    use domain::config::Context;
    use domain::record::Neighbour;

    use super::super::{Index, offer, reference};
    use super::*;
    use crate::testing::document;

    const OTHERS: [&str; 8] = [
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {}}}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {app: web}}\nspec: {ports: [{port: 80}]}",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {a: hunter2}",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {b: c}",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {podSelector: {}}",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: web}",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: web}",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: other}\nstringData: {a: b}",
    ];

    fn index(context: Context) -> Index {
        let documents = OTHERS.map(document);
        let offers =
            documents.iter().flat_map(|document| offer(document).into_iter().chain(reference(document)));
        Index::in_folders(offers.map(|offer| ("a".to_owned(), offer)), context)
    }

    fn sorts(neighbours: &Neighbours) -> Vec<Sort> {
        let sort = |neighbour: &Neighbour| match neighbour {
            Neighbour::Reference(reference) => Some(Sort::of(reference)),
            _ => None,
        };
        let mut sorts: Vec<Sort> = neighbours.objects().iter().filter_map(sort).collect();
        sorts.sort();
        sorts
    }

    const REFERRING: [(&str, &[Sort]); 8] = [
        ("kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}]}", &[Sort::NetworkPolicy]),
        (
            "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, env: [{valueFrom: {secretKeyRef: {name: web}}}, {valueFrom: {configMapKeyRef: {name: web}}}]}]}",
            &[Sort::ConfigMap, Sort::NetworkPolicy, Sort::Secret],
        ),
        ("kind: HorizontalPodAutoscaler\nspec: {scaleTargetRef: {name: web}}", &[Sort::Controller]),
        ("kind: Ingress\nspec: {defaultBackend: {service: {name: web}}}", &[Sort::Service]),
        ("kind: ServiceMonitor\nspec: {selector: {matchLabels: {app: web}}}", &[Sort::Service]),
        ("kind: PodDisruptionBudget\nspec: {selector: {matchLabels: {app: web}}}", &[Sort::Controller]),
        ("kind: RoleBinding\nroleRef: {kind: Role, name: web}", &[Sort::Role]),
        (
            "kind: ClusterRoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: web}",
            &[Sort::ClusterRole],
        ),
    ];

    #[test]
    fn documents_see_what_they_refer_to() {
        let (plain, index) = (index(Context::Input), index(Context::Input).with_references());
        for (text, expected) in REFERRING {
            let found = index.related(&document(text));
            assert_eq!(sorts(&found), expected, "{text}");
            assert!(!format!("{found:?}").contains("hunter2"), "values stay where they are");
            assert_eq!(sorts(&plain.related(&document(text))), [], "not asked for: {text}");
        }
        let policy = document("kind: NetworkPolicy\nspec: {podSelector: {matchLabels: {app: web}}}");
        assert_eq!(index.related(&policy).objects().len(), 1);
        assert_eq!(plain.related(&policy), Neighbours::Known(Vec::new()));
    }

    #[test]
    fn references_end_at_namespace_and_folder() {
        let index = index(Context::Folder).with_references();
        for (text, expected) in REFERRING {
            assert_eq!(sorts(&index.related_in(&document(text), "a")), expected, "{text}");
            assert_eq!(sorts(&index.related_in(&document(text), "b")), [], "{text}");
        }
        let elsewhere = "kind: Ingress\nmetadata: {name: i, namespace: x}\nspec: {defaultBackend: {service: {name: web}}}";
        assert_eq!(sorts(&index.related_in(&document(elsewhere), "a")), []);
    }

    #[test]
    fn backends_and_peers_are_found_at_their_places() {
        let ingress = document(
            "kind: Ingress\nspec: {defaultBackend: {service: {name: d, port: {name: http}}}, rules: [{}, {http: {paths: [{backend: {service: {name: p, port: {number: 80}}}}, {backend: {resource: {}}}]}}]}",
        );
        let found: Vec<(String, &str, String)> = backends(&ingress.value)
            .into_iter()
            .map(|(keys, name, port)| (keys.join("/"), name, port))
            .collect();
        assert_eq!(
            found,
            [
                ("spec/defaultBackend".to_owned(), "d", "http".to_owned()),
                ("spec/rules/1/http/paths/0/backend".to_owned(), "p", "80".to_owned())
            ]
        );
        let policy = document(
            "kind: NetworkPolicy\nspec: {ingress: [{from: [{ipBlock: {}}, {podSelector: {matchLabels: {a: b}}}]}], egress: [{to: [{podSelector: {}, namespaceSelector: {}}]}]}",
        );
        let places: Vec<String> =
            pod_selectors(&policy.value).into_iter().map(|(keys, _)| keys.join("/")).collect();
        assert_eq!(places, ["spec/podSelector", "spec/ingress/0/from/1/podSelector"]);
    }
}
