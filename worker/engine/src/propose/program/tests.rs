use domain::config::{Guardrails, ProposerMode, RunConfig};
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use serde_json::json;

use super::*;
use crate::propose::Decision;
use crate::testing::document;
use crate::verify::{apply, examine};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: a
    image: nginx:1.25
    env: [{name: DB_PASSWORD, value: hunter2}]
    securityContext: {privileged: true}
";

fn with(guardrails: Guardrails, secrets: Secrets, play: impl FnOnce(&Case<'_>, ProgramDialogue, Shown)) {
    let mut config = RunConfig { guardrails, max_attempts: 2, ..RunConfig::default() };
    config.proposer.mode = ProposerMode::Command;
    let document = document(POD);
    let (neighbours, clock) = (Neighbours::Unknown, || 0.0);
    let before = examine(&document, &neighbours, &config, &clock);
    let policy = PolicyName::Known(PolicyId::NoPrivileged);
    let case = Case {
        document: &document,
        neighbours: &neighbours,
        before: &before,
        policy: &policy,
        violation: "DB_PASSWORD is hunter2",
        config: &config,
        verify: &crate::verify::verify,
        clock: &clock,
    };
    let (dialogue, step) = ProgramDialogue::begin(&case, secrets);
    play(&case, dialogue, asked(step));
}

fn asked(step: Step<Shown>) -> Shown {
    match step {
        Step::Ask(shown) => shown,
        other => panic!("not asked: {other:?}"),
    }
}

fn done(step: Step<Shown>) -> Judged {
    match step {
        Step::Done(judged) => *judged,
        other => panic!("not done: {other:?}"),
    }
}

fn patch(value: serde_json::Value) -> Returned {
    Returned::Patch(serde_json::from_value(value).unwrap())
}

#[test]
fn a_returned_document_becomes_the_smallest_patch_and_keeps_its_secret() {
    with(Guardrails::None, Secrets::Masked, |case, mut dialogue, shown| {
        assert!(!shown.manifest.contains("hunter2") && !shown.violation.contains("hunter2"));
        let returned = shown.manifest.replace("privileged: true", "privileged: false");
        let judged = done(dialogue.answered(case, &Returned::Document(returned)));
        assert!(judged.verification.accepted(), "{:?}", judged.verification.errors());
        assert_eq!(
            serde_json::to_value(&judged.proposal.patch).unwrap(),
            json!([{"op": "replace", "path": "/spec/containers/0/securityContext/privileged", "value": false}])
        );
        let patched = apply(&case.document.value, &judged.proposal.patch).unwrap();
        assert!(patched.to_string().contains("hunter2"));
    });
    with(Guardrails::None, Secrets::Whole, |_, _, shown| assert!(shown.manifest.contains("hunter2")));
}

#[test]
fn refused_answers_come_back_as_feedback_until_the_attempts_are_used_up() {
    with(Guardrails::None, Secrets::Masked, |case, mut dialogue, shown| {
        assert_eq!((shown.attempt, &shown.feedback), (1, &None));
        let unchanged = Returned::Document(shown.manifest);
        let shown = asked(dialogue.answered(case, &unchanged));
        assert_eq!(shown.attempt, 2);
        assert!(shown.feedback.unwrap().contains(EMPTY));
        let step = dialogue.answered(case, &patch(json!([{"op": "remove", "path": "/spec/hostPID"}])));
        assert_eq!((step, dialogue.attempts()), (Step::Fallback(None), 2));
        assert_eq!(dialogue.errors().len(), 2);
    });
}

#[test]
fn other_objects_and_unreadable_documents_are_refused() {
    with(Guardrails::Fallback, Secrets::Masked, |case, mut dialogue, _| {
        let other = Returned::Document("kind: Secret\nmetadata: {name: web}".to_owned());
        asked(dialogue.answered(case, &other));
        let step = dialogue.answered(case, &Returned::Document("{".to_owned()));
        assert!(matches!(step, Step::Fallback(Some(Decision::Repair(_)))), "the rules step in");
        assert!(dialogue.errors()[0].contains("\"Secret\", not a \"Pod\""), "{:?}", dialogue.errors());
        assert!(dialogue.errors()[1].contains("not valid"), "{:?}", dialogue.errors());
    });
}

#[test]
fn a_mask_is_not_carried_away() {
    with(Guardrails::None, Secrets::Masked, |case, mut dialogue, shown| {
        let leak = shown.manifest.replace("name: web", "name: web\n  labels: {leak: MASKED_1}");
        asked(dialogue.answered(case, &Returned::Document(leak)));
        assert!(dialogue.errors()[0].contains("must stay where they are"), "{:?}", dialogue.errors());
        let step = dialogue.unanswered(case, "it died with hunter2");
        assert_eq!(step, Step::Fallback(None));
        assert!(!dialogue.errors()[1].contains("hunter2"));
    });
}
