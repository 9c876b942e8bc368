//! A record of the corpus: one detection, its document, and the related objects of that document.

pub mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{DocumentHash, RecordId};
use crate::outcome::ErrorKind;
use crate::policy::PolicyName;
use crate::record::reference::Reference;

/// One detection of the corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Names the record in its corpus.
    pub id: RecordId,
    /// 0-based place in the corpus.
    pub position: u64,
    /// Where the document came from, as published; empty when unknown.
    pub manifest_path: String,
    /// Which document; its text travels once per shard beside the records.
    pub document: DocumentHash,
    /// The scanner's id, as published.
    pub raw_policy_id: String,
    /// The scanner's sentence; may be empty.
    pub violation_text: String,
    /// Set when intake could not make a processable record; the outcome is then `error`.
    pub problem: Option<Problem>,
}

impl Record {
    /// The canonical policy of the record.
    pub fn policy(&self) -> PolicyName {
        PolicyName::normalise(&self.raw_policy_id)
    }
}

/// Why a record cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What sort of trouble.
    pub kind: ErrorKind,
    /// One sentence that names the place and the remedy.
    pub message: String,
}

/// A document's text with the neighbours it must be judged with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDocument {
    /// Hash of text and neighbours.
    pub hash: DocumentHash,
    /// YAML or JSON of exactly one document.
    pub text: Arc<str>,
    /// What other documents of the input say that this one depends on.
    pub neighbours: Neighbours,
}

impl SourceDocument {
    /// Takes a document and hashes it.
    pub fn new(text: impl Into<Arc<str>>, neighbours: Neighbours) -> Self {
        let text = text.into();
        let hash = if neighbours == Neighbours::Unknown {
            DocumentHash::of(text.as_bytes())
        } else {
            let mut bytes = text.as_bytes().to_vec();
            bytes.push(0);
            // Ordered maps and lists only: the same neighbours always give the same text.
            bytes.extend(serde_json::to_vec(&neighbours).unwrap_or_default());
            DocumentHash::of(&bytes)
        };
        Self { hash, text, neighbours }
    }
}

/// What is known of the objects around a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope", content = "objects")]
pub enum Neighbours {
    /// The document stands alone, as in a published record: absence proves nothing.
    #[default]
    Unknown,
    /// Every related object of the whole input; absence is a fact.
    Known(Vec<Neighbour>),
}

impl Neighbours {
    /// The objects that are known.
    pub fn objects(&self) -> &[Neighbour] {
        match self {
            Self::Unknown => &[],
            Self::Known(objects) => objects,
        }
    }
}

/// An object of the same input that a cross-document policy looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "object")]
pub enum Neighbour {
    /// A workload and the labels of its pods.
    Workload {
        /// Its kind.
        kind: String,
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// Labels of its pod template (of the pod itself for a Pod).
        pod_labels: BTreeMap<String, String>,
    },
    /// A service account.
    ServiceAccount {
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An object that selects pods by their labels: a Service, a disruption budget, a network policy.
    PodSelector {
        /// Its kind.
        kind: String,
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// The labels that it selects by.
        labels: BTreeMap<String, String>,
        /// The names of container ports that it sends traffic to.
        port_names: BTreeSet<String>,
    },
    /// A custom resource, whose controller may make pods that no manifest shows.
    CustomResource {
        /// Its kind.
        kind: String,
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// Labels that it has or gives.
        labels: BTreeMap<String, String>,
    },
    /// An image that a kustomization above the document replaces when it is built (`images`).
    ImageOverride {
        /// The path of the kustomization.
        kustomization: String,
        /// The image that it names, as it is written in the manifests.
        image: String,
    },
    /// What the document refers to, for policies beyond those of the paper.
    Reference(Reference),
}

impl Neighbour {
    /// Its namespace, empty when its document names none.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Workload { namespace, .. }
            | Self::ServiceAccount { namespace, .. }
            | Self::PodSelector { namespace, .. }
            | Self::CustomResource { namespace, .. } => namespace,
            Self::Reference(reference) => reference.namespace(),
            Self::ImageOverride { .. } => "",
        }
    }
}

/// A contiguous slice of the corpus with each of its documents once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The records in the order of the corpus.
    pub records: Vec<Record>,
    /// Every document that a record names, once.
    pub documents: Vec<SourceDocument>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_part_of_a_documents_identity() {
        let alone = SourceDocument::new("kind: Service", Neighbours::Unknown);
        let known = SourceDocument::new("kind: Service", Neighbours::Known(vec![]));
        assert_ne!(alone.hash, known.hash);
        assert_eq!(alone.hash, DocumentHash::of(b"kind: Service"));
    }
}
