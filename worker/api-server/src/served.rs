//! Which kinds a server serves: names in URLs, scope, and whether they can be created.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::error::Unreachable;
use crate::transport::{Ask, Http};

/// Kinds of one server that are kept.
const MOST_KINDS: usize = 50_000;

/// The aggregated discovery: two requests for all kinds, known since Kubernetes 1.27.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// How one kind is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// Its name in URLs, e.g. `deployments`.
    plural: String,
    /// Whether its objects stand in namespaces.
    pub(crate) namespaced: bool,
    creatable: bool,
}

impl Served {
    /// The collection that an object is created in.
    pub(crate) fn collection(&self, api_version: &str, namespace: &str) -> String {
        let root = match api_version.split_once('/') {
            Some((group, version)) => format!("/apis/{}/{}", encoded(group), encoded(version)),
            None => format!("/api/{}", encoded(api_version)),
        };
        let plural = encoded(&self.plural);
        if self.namespaced {
            format!("{root}/namespaces/{}/{plural}", encoded(namespace))
        } else {
            format!("{root}/{plural}")
        }
    }
}

/// Everything but letters, digits, `-`, `_` and `.` as `%XX`: a name of a document stays one segment of the path.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The kinds that a server serves.
#[derive(Debug, Default)]
pub(crate) struct ServedKinds {
    kinds: HashMap<(String, String), Served>,
}

impl ServedKinds {
    /// Asks the server.
    pub(crate) async fn ask(http: &Http) -> Result<Self, Unreachable> {
        let mut served = Self::default();
        for path in ["/api", "/apis"] {
            let ask = Ask { accept: AGGREGATED, ..Ask::get(path) };
            let reply = http.send(&ask).await?;
            if !reply.is_success() {
                return Err(http.odd(&format!("{path}: HTTP {}: {}", reply.code, reply.status.message())));
            }
            let list: GroupList = serde_json::from_slice(&reply.body)
                .map_err(|error| http.odd(&format!("{path}: not a list of API groups: {error}")))?;
            if list.kind != "APIGroupDiscoveryList" {
                return Err(http.odd(&format!("{path}: a {}, not an APIGroupDiscoveryList", list.kind)));
            }
            served.take(list);
        }
        Ok(served)
    }

    fn take(&mut self, list: GroupList) {
        for group in list.items {
            for version in group.versions {
                let api_version = match group.metadata.name.as_str() {
                    "" => version.version,
                    name => format!("{name}/{}", version.version),
                };
                for resource in version.resources {
                    let Some(kind) = resource.response_kind else { continue };
                    let served = Served {
                        plural: resource.plural,
                        namespaced: resource.scope == "Namespaced",
                        creatable: resource.verbs.iter().any(|verb| verb == "create"),
                    };
                    let key = (api_version.clone(), kind.kind);
                    let better =
                        self.kinds.get(&key).is_none_or(|known| served.creatable && !known.creatable);
                    if better && self.kinds.len() < MOST_KINDS {
                        self.kinds.insert(key, served);
                    }
                }
            }
        }
    }

    /// How a kind is served, if it is.
    pub(crate) fn of(&self, api_version: &str, kind: &str) -> Option<&Served> {
        self.kinds.get(&(api_version.to_owned(), kind.to_owned()))
    }
}

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    response_kind: Option<Kind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment_of_the_path() {
        let served = |namespaced| Served { plural: "pods".to_owned(), namespaced, creatable: true };
        assert_eq!(served(true).collection("v1", "a b/../c"), "/api/v1/namespaces/a%20b%2F..%2Fc/pods");
        assert_eq!(served(false).collection("g.io/v1/../..", "x"), "/apis/g.io/v1%2F..%2F../pods");
        assert_eq!(encoded("ä\r\n?#"), "%C3%A4%0D%0A%3F%23");
    }

    #[test]
    fn a_kind_that_can_be_created_wins_over_one_that_cannot() {
        let text = r#"{"kind": "APIGroupDiscoveryList", "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "reads", "responseKind": {"kind": "A"}, "scope": "Cluster", "verbs": ["get"]},
            {"resource": "writes", "responseKind": {"kind": "A"}, "scope": "Namespaced", "verbs": ["create"]},
            {"resource": "others"}]}]}]}"#;
        let mut served = ServedKinds::default();
        served.take(serde_json::from_str(text).expect("a list"));
        let found = served.of("v1", "A").expect("served");
        assert_eq!((found.plural.as_str(), found.namespaced), ("writes", true));
        assert_eq!(served.of("v2", "A"), None);
    }
}
