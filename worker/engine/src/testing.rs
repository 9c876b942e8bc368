//! Helpers for the tests of policies.

use std::path::PathBuf;

use domain::config::{Limits, RulesConfig};
use domain::patch::Patch;
use domain::policy::PolicyId;
use domain::record::Neighbours;
use serde_json::Value;

use crate::document::Document;
use crate::k8s::View;
use crate::policies::{Finding, Fix, Policy};
use crate::verify::apply;

/// Reads a document that must be readable.
pub(crate) fn document(yaml: &str) -> Document {
    Document::parse(yaml, &Limits::default()).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// What the policy finds in a document that stands alone.
pub(crate) fn findings(policy: &dyn Policy, document: &Document) -> Vec<Finding> {
    policy.detect(&View::new(document, &Neighbours::Unknown))
}

/// The messages of what the policy finds.
pub(crate) fn messages(policy: &dyn Policy, document: &Document) -> Vec<String> {
    findings(policy, document).into_iter().map(|finding| finding.message).collect()
}

/// Holds that a policy finds so many violations in roles of one kind and rule each: (kind, rule, number).
pub(crate) fn roles_hold(policy: &dyn Policy, cases: &[(&str, &str, usize)]) {
    for (kind, rule, expected) in cases {
        let role =
            document(&format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nrules: [{rule}]"));
        assert_eq!(messages(policy, &role).len(), *expected, "{kind} {rule}");
    }
}

/// The patch the policy proposes, as JSON; checks that it applies, clears the policy and leaves nothing to do.
pub(crate) fn fix_of(policy: &dyn Policy, document: &Document) -> Value {
    fix_among(policy, document, &Neighbours::Unknown)
}

/// [`fix_of`] with neighbours.
pub(crate) fn fix_among(policy: &dyn Policy, document: &Document, neighbours: &Neighbours) -> Value {
    let rules = RulesConfig::default();
    let (patch, companions) = match policy.fix(&View::new(document, neighbours), &rules) {
        Fix::Repair { patch, companions, .. } => (patch, companions),
        other => panic!("no repair: {other:?}"),
    };
    let patched = apply(&document.value, &patch).unwrap_or_else(|error| panic!("{error}"));
    let patched = Document::from_value(patched).expect("still an object");
    if companions.is_empty() {
        let view = View::new(&patched, neighbours);
        assert_eq!(policy.cleared(&view, &rules), Vec::<String>::new(), "not cleared");
        assert!(matches!(policy.fix(&view, &rules), Fix::NotApplicable { .. }), "proposes again");
    }
    serde_json::to_value(patch).expect("a patch is JSON")
}

/// The reason of a review that the policy asks for.
pub(crate) fn review_of(policy: &dyn Policy, document: &Document, neighbours: &Neighbours) -> String {
    match policy.fix(&View::new(document, neighbours), &RulesConfig::default()) {
        Fix::NeedsReview { reason } => reason,
        other => panic!("no review: {other:?}"),
    }
}

/// What `data/fixtures/policies` holds for a policy.
pub(crate) struct Fixture {
    /// Breaks the policy.
    pub(crate) bad: Document,
    /// The result of the repair; as it was where a person must decide.
    pub(crate) fixed: Document,
    /// What stands beside it.
    pub(crate) neighbours: Neighbours,
    /// What is found in it, and how it is repaired.
    pub(crate) expected: Value,
}

/// Reads the fixture of a policy.
pub(crate) fn fixture(id: PolicyId) -> Fixture {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data/fixtures/policies").join(id.as_str());
    #[expect(clippy::disallowed_methods, reason = "the fixtures lie in files")]
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let expected: Value = serde_json::from_str(&read("expected.json")).expect("expected.json is JSON");
    let neighbours = expected
        .get("neighbours")
        .map(|value| serde_json::from_value(value.clone()).expect("neighbours"))
        .unwrap_or_default();
    let fixed = if expected.get("review").is_some() { "bad.yaml" } else { "fixed.yaml" };
    Fixture { bad: document(&read("bad.yaml")), fixed: document(&read(fixed)), neighbours, expected }
}

/// The patch of a fixture; `None` where a person must decide.
pub(crate) fn patch_of(fixture: &Fixture) -> Option<Patch> {
    let patch = fixture.expected.get("patch")?;
    Some(serde_json::from_value(patch.clone()).expect("a patch"))
}

/// Checks the policy against its fixture: `bad.yaml` is found with the messages and patched by the operations of
/// `expected.json`, which gives `fixed.yaml`, in which nothing is found; or it is left to a person for the reason there.
pub(crate) fn fixture_holds(policy: &dyn Policy) {
    let Fixture { bad, fixed, neighbours, expected } = fixture(policy.id());
    let view = View::new(&bad, &neighbours);
    let found: Vec<Value> = policy
        .detect(&view)
        .into_iter()
        .map(|finding| serde_json::json!({"check": finding.check, "message": finding.message, "pointer": finding.pointer}))
        .collect();
    assert_eq!(Value::from(found), expected["findings"], "findings of bad.yaml");
    let (patch, companions, cautions) = match policy.fix(&view, &RulesConfig::default()) {
        Fix::Repair { patch, companions, cautions } => (patch, companions, cautions),
        Fix::NeedsReview { reason } => {
            assert_eq!(Value::from(reason), expected["review"], "review of bad.yaml");
            return;
        }
        Fix::NotApplicable { reason } => panic!("bad.yaml is left alone: {reason}"),
    };
    assert_eq!(serde_json::to_value(&patch).expect("JSON"), expected["patch"], "patch of bad.yaml");
    assert_eq!(Value::from(companions), expected["companions"], "companions of bad.yaml");
    assert_eq!(serde_json::to_value(cautions).expect("JSON"), expected["cautions"], "cautions of bad.yaml");
    assert_eq!(apply(&bad.value, &patch).expect("applies"), fixed.value, "bad.yaml patched is fixed.yaml");
}
