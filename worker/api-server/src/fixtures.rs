//! What is written into a throw-away control plane before it is asked: our fixtures, and the definitions of the corpus.

use std::collections::BTreeMap;

use domain::config::Limits;
use engine::document::Document;
use serde_json::Value;

use crate::transport::cut;

/// The fixtures of every control plane: roles and network policies that a seeded cluster of the paper has.
const SEED: [&str; 2] = [
    include_str!("../../../configs/fixtures/rbac.yaml"),
    include_str!("../../../configs/fixtures/network-policies.yaml"),
];

const DEFINITION: &str = "CustomResourceDefinition";

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Objects of our fixtures.
    pub fixtures: usize,
    /// Custom resource definitions of the corpus.
    pub definitions: usize,
    /// Definitions that the server refuses, with its words: their kinds stay unknown.
    pub refused: Vec<(String, String)>,
}

/// An object to create.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) json: String,
    /// `apiVersion` and kind that a definition makes the server serve.
    pub(crate) serves: Vec<(String, String)>,
}

impl Fixture {
    fn of(document: &Document) -> Self {
        let identity = &document.identity;
        Self {
            api_version: identity.api_version.clone(),
            kind: identity.kind.clone(),
            namespace: identity.effective_namespace().to_owned(),
            name: identity.name.clone(),
            json: document.value.to_string(),
            serves: served_by(&document.value),
        }
    }

    /// For messages.
    pub(crate) fn title(&self) -> String {
        cut(&format!("{} {}", self.kind, self.name))
    }
}

/// Whether a text may hold a definition: most documents hold none, and are not parsed for it.
pub(crate) fn may_define(text: &str) -> bool {
    text.contains(DEFINITION)
}

/// The kinds that a definition has served.
fn served_by(definition: &Value) -> Vec<(String, String)> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
    let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) else {
        return Vec::new();
    };
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let served = versions.into_iter().flatten().filter(|version| version["served"] == true);
    served
        .filter_map(|version| Some((format!("{group}/{}", version["name"].as_str()?), kind.to_owned())))
        .collect()
}

/// Everything that is written, in this order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fixtures {
    pub(crate) seed: Vec<Fixture>,
    /// By name; of several with one name the last counts.
    pub(crate) definitions: BTreeMap<String, Fixture>,
}

impl Fixtures {
    /// Our fixtures.
    pub(crate) fn seed(limits: &Limits) -> Self {
        let pieces = SEED.iter().flat_map(|text| engine::yaml::split(text));
        let seed = pieces.filter_map(|piece| Document::parse(piece.text, limits).ok());
        Self { seed: seed.map(|document| Fixture::of(&document)).collect(), definitions: BTreeMap::new() }
    }

    /// Adds the definitions that a text of the corpus holds.
    pub(crate) fn take(&mut self, text: &str, limits: &Limits) {
        if !may_define(text) {
            return;
        }
        let Ok(document) = Document::parse(text, limits) else { return };
        for (_, object) in document.flatten() {
            let identity = &object.identity;
            if identity.kind == DEFINITION && identity.group() == "apiextensions.k8s.io" {
                self.definitions.insert(identity.name.clone(), Fixture::of(&object));
            }
        }
    }

    /// A hash of what is written: part of what decides verdicts.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for fixture in self.seed.iter().chain(self.definitions.values()) {
            hasher.update(&(fixture.json.len() as u64).to_le_bytes());
            hasher.update(fixture.json.as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_can_be_read() {
        let seed = Fixtures::seed(&Limits::default()).seed;
        let titles: Vec<String> = seed.iter().map(Fixture::title).collect();
        assert!(titles.contains(&"NetworkPolicy autofix-default-deny".to_owned()), "{titles:?}");
        assert_eq!(seed.len(), SEED.iter().map(|text| text.matches("\nkind: ").count()).sum::<usize>());
    }

    #[test]
    fn definitions_are_found_once_with_the_kinds_they_serve() {
        let limits = Limits::default();
        let mut fixtures = Fixtures::default();
        let crd = |kind: &str| {
            format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: a.b.io}}\nspec: {{group: b.io, names: {{kind: {kind}}}, versions: [{{name: v1, served: true}}, {{name: v2, served: false}}]}}\n"
            )
        };
        fixtures.take(&crd("A"), &limits);
        let one = fixtures.hash();
        fixtures.take(&crd("B"), &limits);
        fixtures.take("kind: CustomResourceDefinition\napiVersion: other/v1\n", &limits);
        fixtures.take("kind: Pod\n", &limits);
        let names: Vec<&String> = fixtures.definitions.keys().collect();
        assert_eq!(names, ["a.b.io"]);
        assert_eq!(fixtures.definitions["a.b.io"].serves, [("b.io/v1".to_owned(), "B".to_owned())]);
        assert_ne!(fixtures.hash(), one);
    }
}
