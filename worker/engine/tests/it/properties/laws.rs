//! Properties that hold for every document.

use domain::config::{GateProfile, Limits, RulesConfig, RunConfig};
use domain::outcome::{Fault, Proposal};
use domain::patch::Patch;
use domain::policy::catalogue::Catalogue;
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use engine::detect::detect;
use engine::document::Document;
use engine::k8s::{View, neighbours};
use engine::policies::{Fix, policy};
use engine::propose::{Decision, rules};
use engine::template;
use engine::verify::{Before, Candidate, Verify, apply, examine, verify};
use engine::yaml::{load, to_yaml};
use serde_json::Value;

/// Runs every object in `text` through all stages. Text that is not a valid document is skipped.
pub(crate) fn hold_for_text(text: &str, around: &Neighbours) {
    if let Ok(document) = Document::parse(text, &Limits::default()) {
        for (at, object) in document.clone().flatten() {
            let part = at.resolve(&document.value);
            assert_eq!(part, Some(&object.value), "an object of a list stands where it says");
            hold(&object, around);
        }
    }
}

/// Takes one object the whole way: detect, and for every policy fix, apply, check, fix again, verify.
pub(crate) fn hold(document: &Document, around: &Neighbours) {
    let mut config = RunConfig::default();
    config.detector.catalogue = Catalogue::Full;
    let view = View::new(document, around);
    let before = examine(document, around, &config, &|| 0.0);
    for finding in &before.findings {
        assert!(
            finding.pointer.resolve(&document.value).is_some(),
            "{finding:?} points at nothing in\n{}",
            shown(document)
        );
        assert!(!finding.message.is_empty());
    }
    assert_eq!(before.findings, detect(&view, config.detector.policies()), "a second look finds the same");
    for (at, _) in template::unrendered(document) {
        let exists = |at: &domain::pointer::Pointer| at.resolve(&document.value).is_some();
        assert!(exists(&at), "a placeholder at {at}, which is nowhere in\n{}", shown(document));
    }
    for id in PolicyId::ALL {
        treat(*id, &view, document, &before, &config);
    }
}

fn treat(id: PolicyId, view: &View<'_>, document: &Document, before: &Before, config: &RunConfig) {
    let name = PolicyName::Known(id);
    let decision = rules::propose(view, &name, &config.rules);
    assert_eq!(decision, rules::propose(view, &name, &config.rules), "{id}: a second proposal is the same");
    match decision {
        Decision::NoRule => panic!("{id} has a rule"),
        Decision::NeedsReview { reason } => assert!(!reason.is_empty()),
        Decision::NotApplicable { reason } => {
            // A scanner may find what the policy accepts: Linux-only fields missing on Windows, an allowed host path.
            let left = policy(id).cleared(view, &config.rules);
            let context = || format!("{id} has nothing to do: {reason}\n{}", shown(document));
            assert_eq!(left, Vec::<String>::new(), "{}", context());
        }
        Decision::Repair(proposal) => repaired(id, view, document, before, &proposal, config),
    }
}

fn repaired(
    id: PolicyId,
    view: &View<'_>,
    document: &Document,
    before: &Before,
    proposal: &Proposal,
    config: &RunConfig,
) {
    let context = || format!("{id} on\n{}patch {}", shown(document), proposal.patch.to_json());
    let patched = apply(&document.value, &proposal.patch)
        .unwrap_or_else(|error| panic!("the patch does not apply: {error}: {}", context()));
    assert_eq!(proposal.patch.is_empty(), patched == document.value, "ops have an effect: {}", context());
    let after = Document::from_value(patched).expect("still an object");
    let around = with_companions(view.neighbours, proposal);
    let view_after = View::new(&after, &around);
    let left = policy(id).cleared(&view_after, &config.rules);
    assert_eq!(left, Vec::<String>::new(), "not cleared: {}", context());
    let again = policy(id).fix(&view_after, &config.rules);
    assert!(matches!(again, Fix::NotApplicable { .. }), "proposes again {again:?}: {}", context());
    written_is_read_back(&after.value);

    let name = PolicyName::Known(id);
    let candidate = Candidate { document, neighbours: view.neighbours, before, policy: &name, proposal };
    let verification = verify(candidate, config, &|| 0.0);
    assert_eq!(verification, verify(candidate, config, &|| 0.0), "a second verdict is the same");
    assert_eq!(verification.patched.as_ref(), Some(&after.value));
    assert_eq!(verification.new_violations, Vec::<String>::new(), "new findings: {}", context());
    assert!(
        matches!(verification.fault, Fault::None | Fault::Document),
        "{:?}: {:?}: {}",
        verification.fault,
        verification.errors(),
        context()
    );

    let _ = paper::gates::verify(candidate, config, &|| 0.0);
}

fn with_companions(around: &Neighbours, proposal: &Proposal) -> Neighbours {
    let documents = proposal
        .companions
        .iter()
        .map(|value| Document::from_value(value.clone()).expect("a companion is an object"));
    let offers: Vec<_> = documents.filter_map(|document| neighbours::offer(&document)).collect();
    if offers.is_empty() {
        return around.clone();
    }
    Neighbours::Known(around.objects().iter().cloned().chain(offers).collect())
}

/// What is written as YAML is read back as it was.
pub(crate) fn written_is_read_back(value: &Value) {
    let text = to_yaml(value);
    match load(&text, &Limits::default()) {
        Ok(read) => assert_eq!(&read.value, value, "as YAML:\n{text}"),
        Err(error) => panic!("{error}: as YAML:\n{text}"),
    }
}

/// Any patch, by whomever: judged without a panic under both profiles, the same way twice.
pub(crate) fn hold_for_patch(document: &Document, around: &Neighbours, id: PolicyId, patch: Patch) {
    let mut config = RunConfig::default();
    let before = examine(document, around, &config, &|| 0.0);
    let name = PolicyName::Known(id);
    let proposal = Proposal { patch, ..Proposal::default() };
    let candidate =
        Candidate { document, neighbours: around, before: &before, policy: &name, proposal: &proposal };
    let judges: [(GateProfile, Verify); 2] =
        [(GateProfile::Strict, verify), (GateProfile::Published, paper::gates::verify)];
    for (gates, verify) in judges {
        config.verifier.gates = gates;
        let verification = verify(candidate, &config, &|| 0.0);
        let applied = apply(&document.value, &proposal.patch).ok();
        let applied = applied.filter(|value| value.is_object() || gates == GateProfile::Published);
        assert_eq!(verification.patched, applied, "the verdict is about the patched document");
        if verification.accepted() && gates == GateProfile::Strict {
            let after = Document::from_value(applied.expect("an accepted patch applies")).expect("an object");
            let left = policy(id).cleared(&View::new(&after, around), &RulesConfig::default());
            assert_eq!(left, Vec::<String>::new(), "accepted, but the policy does not hold");
        }
    }
}

fn shown(document: &Document) -> String {
    to_yaml(&document.value)
}
