//! Objects of an input that others refer to, each with what they refer to: for policies beyond those of the paper.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// An object that others refer to by its name or its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of")]
pub enum Reference {
    /// What makes pods, as an autoscaler or a disruption budget refers to it.
    Controller {
        /// Its API version.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// How it selects its pods; `None` where it has no such selector.
        selector: Option<LabelSelector>,
        /// How many pods it asks for; `None` where it has no such number.
        replicas: Option<i64>,
    },
    /// A Service, as what routes to it or watches it refers to it.
    Service {
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// Its own labels.
        labels: BTreeMap<String, String>,
        /// Its ports: numbers and names.
        ports: BTreeSet<String>,
    },
    /// A `ConfigMap` or a `Secret`, without its values.
    Values {
        /// Its kind.
        kind: String,
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// Its keys.
        keys: BTreeSet<String>,
    },
    /// A network policy, and the pods that it isolates.
    NetworkPolicy {
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// Which pods.
        pods: LabelSelector,
    },
    /// A `Role` or a `ClusterRole`, and what it grants.
    Role {
        /// Its kind.
        kind: String,
        /// Its namespace, empty when the document names none.
        namespace: String,
        /// Its name.
        name: String,
        /// Its own labels.
        labels: BTreeMap<String, String>,
        /// What it grants.
        rules: Vec<RoleRule>,
        /// Which other cluster roles it is put together of.
        aggregates: Vec<LabelSelector>,
    },
}

impl Reference {
    /// Its namespace, empty when its document names none.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Controller { namespace, .. }
            | Self::Service { namespace, .. }
            | Self::Values { namespace, .. }
            | Self::NetworkPolicy { namespace, .. }
            | Self::Role { namespace, .. } => namespace,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Controller { name, .. }
            | Self::Service { name, .. }
            | Self::Values { name, .. }
            | Self::NetworkPolicy { name, .. }
            | Self::Role { name, .. } => name,
        }
    }
}

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoleRule {
    /// Groups of the resources.
    pub groups: Vec<String>,
    /// Resources, as they are written.
    pub resources: Vec<String>,
    /// Verbs, as they are written.
    pub verbs: Vec<String>,
}

/// A label selector (Kubernetes documentation, *Labels and Selectors*). An empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelSelector {
    /// Pairs that must be among the labels.
    pub labels: BTreeMap<String, String>,
    /// Demands beyond that, as they are written.
    pub expressions: Vec<LabelExpression>,
}

/// One expression of a label selector.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`; anything where it is not valid.
    pub operator: String,
    /// The values of `In` and `NotIn`.
    pub values: Vec<String>,
}
