//! The neighbours of every document of an input, found without looking at all of them again.

use std::collections::{BTreeMap, BTreeSet};

use domain::config::Context;
use domain::record::reference::Reference;
use domain::record::{Neighbour, Neighbours};

use super::super::kinds::known_kind;
use super::super::label_selector;
use super::labels::{ENDPOINTS, service_selector, text_labels};
use super::referring::{References, Referring, pod_selectors};
use super::services::{
    NAMING_LABELS, is_candidate, is_controller_label, owner_of, selects, selects_pods_of, service_pairs,
};
use crate::document::Document;
use crate::k8s::{Pod, View};

/// The most workloads that are kept for one document: one is enough to know that a Service is served, two that a repair
/// is ambiguous; a few more name the choice to a person.
pub(super) const MOST_WORKLOADS: usize = 8;

/// The most objects that are kept of those which select the pods of one workload.
const MOST_SELECTORS: usize = 64;

type Pair = (String, String);

/// The neighbours of every document of an input.
#[derive(Debug, Clone, Default)]
pub struct Index {
    offers: Vec<Offer>,
    namespaces: BTreeMap<String, Namespace>,
    context: Context,
    /// What documents refer to; `None` where no policy looks at it.
    references: Option<References>,
}

/// What a document of some folder offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    neighbour: Neighbour,
    folder: String,
}

/// Places in [`Index::offers`], ascending.
#[derive(Debug, Clone, Default)]
struct Namespace {
    workloads_by_name: BTreeMap<String, Vec<usize>>,
    workloads_by_pair: BTreeMap<Pair, Vec<usize>>,
    service_accounts: BTreeMap<String, Vec<usize>>,
    /// By the first of the pairs that each selects by.
    selectors: BTreeMap<Pair, Vec<usize>>,
    custom_by_name: BTreeMap<String, Vec<usize>>,
    custom_by_pair: BTreeMap<Pair, Vec<usize>>,
}

impl Namespace {
    fn add(&mut self, at: usize, neighbour: &Neighbour) {
        let pairs = |labels: &BTreeMap<String, String>| -> Vec<Pair> {
            labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        match neighbour {
            Neighbour::Workload { name, pod_labels, .. } => {
                self.workloads_by_name.entry(name.clone()).or_default().push(at);
                for pair in pairs(pod_labels) {
                    self.workloads_by_pair.entry(pair).or_default().push(at);
                }
            }
            Neighbour::ServiceAccount { name, .. } => {
                self.service_accounts.entry(name.clone()).or_default().push(at);
            }
            Neighbour::PodSelector { labels, .. } => {
                if let Some(first) = pairs(labels).into_iter().next() {
                    self.selectors.entry(first).or_default().push(at);
                }
            }
            Neighbour::CustomResource { name, labels, .. } => {
                self.custom_by_name.entry(name.clone()).or_default().push(at);
                for pair in pairs(labels) {
                    self.custom_by_pair.entry(pair).or_default().push(at);
                }
            }
            // No document offers the first: who reads the kustomizations adds it. The second is looked up by who refers to it,
            // see `with_references`.
            Neighbour::ImageOverride { .. } | Neighbour::Reference(_) => {}
        }
    }
}

fn effective(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

fn places<'m, K: Ord + ?Sized, O: Ord + std::borrow::Borrow<K>>(
    map: &'m BTreeMap<O, Vec<usize>>,
    key: &K,
) -> impl Iterator<Item = usize> + use<'m, K, O> {
    map.get(key).into_iter().flatten().copied()
}

impl Index {
    /// Takes what all documents of an input `offer`, as if they stood in one folder.
    pub fn new(offers: impl IntoIterator<Item = Neighbour>) -> Self {
        Self::in_folders(offers.into_iter().map(|offer| (String::new(), offer)), Context::Input)
    }

    /// Takes what all documents of an input `offer`, each with the folder of its file.
    pub fn in_folders(offers: impl IntoIterator<Item = (String, Neighbour)>, context: Context) -> Self {
        let offers: BTreeSet<Offer> =
            offers.into_iter().map(|(folder, neighbour)| Offer { neighbour, folder }).collect();
        let offers: Vec<Offer> = offers.into_iter().collect();
        let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
        for (at, offer) in offers.iter().enumerate() {
            let here = namespaces.entry(effective(offer.neighbour.namespace()).to_owned()).or_default();
            here.add(at, &offer.neighbour);
        }
        Self { offers, namespaces, context, references: None }
    }

    /// Lets documents be judged with what they refer to as well, where the offers have it.
    #[must_use]
    pub fn with_references(mut self) -> Self {
        let mut references = References::default();
        for (at, offer) in self.offers.iter().enumerate() {
            if let Neighbour::Reference(reference) = &offer.neighbour {
                references.add(at, reference);
            }
        }
        self.references = Some(references);
        self
    }

    /// [`Index::related_in`] of a document whose folder does not matter.
    pub fn related(&self, document: &Document) -> Neighbours {
        self.related_in(document, "")
    }

    /// The neighbours that `document`, whose file is in `folder`, is judged with: for a Service the workloads it selects,
    /// or, when it selects none, those of its folder that its selector may have meant, the custom resources there that may
    /// own its pods, and endpoints made for it by hand; for a workload the service accounts it uses and what selects its
    /// pods; for other kinds none. At most a few, sorted.
    pub fn related_in(&self, document: &Document, folder: &str) -> Neighbours {
        let identity = &document.identity;
        let mut places = BTreeSet::new();
        if let Some(here) = self.namespaces.get(identity.effective_namespace()) {
            let lookup = Lookup { index: self, here, folder };
            places = match known_kind(identity) {
                "Service" => lookup.of_service(document),
                "NetworkPolicy" if self.references.is_some() => lookup.of_network_policy(document),
                _ => lookup.of_workload(document),
            };
        }
        if let Some(references) = &self.references {
            let visible = |at: usize| self.reference(at, folder);
            places.extend(Referring { references, visible: &visible }.of(document));
        }
        let found: BTreeSet<&Neighbour> =
            places.into_iter().filter_map(|at| Some(&self.offers.get(at)?.neighbour)).collect();
        Neighbours::Known(found.into_iter().cloned().collect())
    }

    /// The reference at a place, where an object of the folder may be judged with it.
    fn reference(&self, at: usize, folder: &str) -> Option<&Reference> {
        let offer = self.offers.get(at)?;
        let is_visible = self.context == Context::Input || offer.folder == folder;
        match &offer.neighbour {
            Neighbour::Reference(reference) if is_visible => Some(reference),
            _ => None,
        }
    }
}

/// A look at the offers of one namespace from one folder.
struct Lookup<'i> {
    index: &'i Index,
    here: &'i Namespace,
    folder: &'i str,
}

impl<'i> Lookup<'i> {
    fn offer(&self, at: usize) -> Option<&'i Neighbour> {
        self.index.offers.get(at).map(|offer| &offer.neighbour)
    }

    fn is_in_folder(&self, at: usize) -> bool {
        self.index.offers.get(at).is_some_and(|offer| offer.folder == self.folder)
    }

    /// Whether the configuration lets an object of this folder be judged with the offer.
    fn is_visible(&self, at: usize) -> bool {
        self.index.context == Context::Input || self.is_in_folder(at)
    }

    fn of_service(&self, service: &Document) -> BTreeSet<usize> {
        let selector = service_selector(&service.value);
        let selected = self.selected(&selector);
        if !selected.is_empty() {
            return selected;
        }
        let name = &service.identity.name;
        let mut related: BTreeSet<usize> = places(&self.here.workloads_by_name, name.as_str()).collect();
        let pairs = service_pairs(&service.value);
        let is_candidate = |at: &usize| {
            self.is_in_folder(*at) && self.offer(*at).is_some_and(|offer| is_candidate(&pairs, name, offer))
        };
        for (key, value) in pairs.iter().filter(|(key, _)| NAMING_LABELS.contains(&key.as_str())) {
            let same_pair = places(&self.here.workloads_by_pair, &(key.clone(), value.clone()));
            related.extend(same_pair.filter(is_candidate).take(MOST_WORKLOADS));
        }
        let endpoints = related.iter().copied().filter(|at| self.is_endpoints(*at)).take(1);
        let candidates = related.iter().copied().filter(is_candidate).take(MOST_WORKLOADS);
        let owners = self.possible_owners(&selector);
        endpoints.chain(candidates).chain(owners.into_iter().take(MOST_WORKLOADS)).collect()
    }

    /// The first workloads that `selector` selects, found from its rarest pair.
    fn selected(&self, selector: &BTreeMap<String, String>) -> BTreeSet<usize> {
        let written = selector.iter().filter(|(key, _)| !is_controller_label(key));
        let postings = written.map(|(key, value)| {
            let pair = (key.clone(), value.clone());
            self.here.workloads_by_pair.get(&pair).map_or(&[][..], Vec::as_slice)
        });
        let by_owner = || {
            let owner = selector.iter().find_map(|(key, value)| owner_of(key, value))?;
            self.here.workloads_by_name.get(owner).map(Vec::as_slice)
        };
        let rarest = postings.min_by_key(|posting| posting.len()).or_else(by_owner).unwrap_or_default();
        let fits = |at: &usize| {
            self.is_visible(*at) && self.offer(*at).is_some_and(|offer| selects_pods_of(selector, offer))
        };
        rarest.iter().copied().filter(fits).take(MOST_WORKLOADS).collect()
    }

    fn is_endpoints(&self, at: usize) -> bool {
        let is_one = matches!(self.offer(at), Some(Neighbour::Workload { kind, .. }) if kind == ENDPOINTS);
        is_one && self.is_visible(at)
    }

    /// The custom resources of the folder whose name or labels the selector asks for.
    fn possible_owners(&self, selector: &BTreeMap<String, String>) -> BTreeSet<usize> {
        let by_pair = selector.iter().flat_map(|(key, value)| {
            let named = places(&self.here.custom_by_name, value.as_str());
            named.chain(places(&self.here.custom_by_pair, &(key.clone(), value.clone())))
        });
        by_pair.filter(|at| self.is_in_folder(*at)).collect()
    }

    /// The first workloads whose pods are selected by each of the selectors of a network policy.
    fn of_network_policy(&self, policy: &Document) -> BTreeSet<usize> {
        let selectors = pod_selectors(&policy.value).into_iter().map(|(_, selector)| selector);
        let found = selectors.flat_map(|selector| {
            let is_selected = move |at: &usize| match self.offer(*at) {
                Some(Neighbour::Workload { kind, pod_labels, .. }) => {
                    kind != ENDPOINTS && label_selector::matches(&selector, pod_labels)
                }
                _ => false,
            };
            let workloads = self.here.workloads_by_name.values().flatten().copied();
            workloads.filter(|at| self.is_visible(*at)).filter(is_selected).take(1)
        });
        found.collect()
    }

    fn of_workload(&self, document: &Document) -> BTreeSet<usize> {
        let view = View::new(document, &Neighbours::Unknown);
        let mut found = BTreeSet::new();
        for name in view.pods.iter().flat_map(accounts) {
            found.extend(places(&self.here.service_accounts, name).filter(|at| self.is_visible(*at)));
        }
        for pod in &view.pods {
            found.extend(self.selectors_of(&text_labels(pod.labels())));
        }
        found
    }

    /// The first objects that select pods with these labels.
    fn selectors_of(&self, labels: &BTreeMap<String, String>) -> BTreeSet<usize> {
        let postings = labels
            .iter()
            .flat_map(|(key, value)| places(&self.here.selectors, &(key.clone(), value.clone())));
        let fits = |at: &usize| {
            let selects = |found: &Neighbour| match found {
                Neighbour::PodSelector { labels: asked, .. } => selects(asked, labels),
                _ => false,
            };
            self.is_visible(*at) && self.offer(*at).is_some_and(selects)
        };
        postings.filter(fits).take(MOST_SELECTORS).collect()
    }
}

/// The names of the service accounts that a pod uses.
fn accounts<'a>(pod: &Pod<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let spec = pod.spec;
    ["serviceAccountName", "serviceAccount"].into_iter().filter_map(|key| spec.get(key)?.as_str())
}
