use std::path::PathBuf;
use std::time::Instant;

use domain::config::{Limits, RunConfig};
use domain::ids::{ShardIndex, WorkerName};
use domain::outcome::{ErrorKind, Fault, Gate, Outcome, Status, Verdict};
use domain::record::{Neighbours, Problem, Slice, SourceDocument};

use super::context::within_bounds;
use super::*;

pub(crate) fn context() -> Context {
    Context {
        config: RunConfig::default(),
        shard: ShardIndex(0),
        attempt: 1,
        worker: WorkerName::new("test").unwrap(),
        arrived: Instant::now(),
        server: None,
        rescans: None,
    }
}

fn outcome(policy: &str, yaml: &str) -> Outcome {
    let (record, document) = domain::testing::record(0, policy, yaml);
    let slice = Slice { records: vec![record], documents: vec![document] };
    run_slice(&slice, &context()).pop().unwrap()
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: 'b:1', securityContext: {privileged: true}}]}\n";

#[test]
fn a_repaired_record_is_accepted_with_all_its_columns() {
    let outcome = outcome("privileged-container", POD);
    assert_eq!(outcome.status, Status::Accepted, "{outcome:#?}");
    assert_eq!((outcome.fault, outcome.kind.as_str(), outcome.name.as_str()), (Fault::None, "Pod", "a"));
    assert!(outcome.patched_yaml.unwrap().contains("privileged: false"));
    assert_eq!(outcome.gates.rescan.verdict, Verdict::Passed);
}

#[test]
fn a_policy_without_a_rule_is_an_outcome() {
    let outcome = outcome("of-another-scanner", POD);
    assert_eq!((outcome.status, outcome.error_kind), (Status::Error, Some(ErrorKind::NoRule)));
}

#[test]
fn nothing_to_fix_is_not_applicable() {
    let outcome = outcome("ssh-port", POD);
    assert_eq!(outcome.status, Status::NotApplicable, "{outcome:#?}");
}

#[test]
fn a_record_with_a_problem_is_an_outcome() {
    let (mut record, document) = domain::testing::record(0, "ssh-port", POD);
    record.problem = Some(Problem { kind: ErrorKind::MalformedRecord, message: "no id".to_owned() });
    let slice = Slice { records: vec![record.clone(), record], documents: vec![document] };
    let outcomes = run_slice(&slice, &context());
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[1].error_kind, Some(ErrorKind::MalformedRecord));
}

#[test]
fn a_document_that_was_not_sent_is_an_outcome() {
    let (record, _) = domain::testing::record(0, "ssh-port", POD);
    let outcomes = run_slice(&Slice { records: vec![record], documents: vec![] }, &context());
    assert_eq!(outcomes[0].error_kind, Some(ErrorKind::MissingDocument));
}

#[test]
fn a_panic_is_a_problem_of_the_record() {
    let problem = within_bounds("testing", &Limits::default(), || panic!("a bug")).unwrap_err();
    assert_eq!(problem.kind, ErrorKind::Internal);
}

#[test]
fn a_record_that_takes_too_many_steps_is_an_outcome_and_its_neighbours_are_repaired() {
    let many: Vec<String> = (0..300)
        .map(|number| format!("{{name: c{number}, image: 'b:1', securityContext: {{privileged: true}}}}"))
        .collect();
    let long = format!("kind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{}]}}\n", many.join(", "));
    let (first, long) = domain::testing::record(0, "privileged-container", &long);
    let (second, short) = domain::testing::record(1, "privileged-container", POD);
    let slice = Slice { records: vec![first, second], documents: vec![long, short] };
    let mut context = context();
    context.config.limits.record_steps = 10_000;
    let outcomes = run_slice(&slice, &context);
    assert_eq!(outcomes[0].error_kind, Some(ErrorKind::TooSlow), "{:?}", outcomes[0].errors);
    assert!(outcomes[0].errors[0].contains("limits.record_steps = 10000"), "{:?}", outcomes[0].errors);
    assert_eq!((outcomes[0].fault, outcomes[1].status), (Fault::Document, Status::Accepted));
    let again = run_slice(&slice, &context);
    assert_eq!((&again[0].errors, again[0].status), (&outcomes[0].errors, outcomes[0].status));
}

/// Status of a hostile document, then its error kind, or its failed gate and fault.
fn summary(outcome: &Outcome) -> String {
    let gate = outcome.gates.first_failed().map_or("-", Gate::as_str);
    match (outcome.status, outcome.error_kind) {
        (Status::Error, Some(kind)) => format!("error:{kind}"),
        (Status::Rejected, _) => format!("rejected:{gate}:{}", outcome.fault),
        (status, _) => status.to_string(),
    }
}

#[test]
fn hostile_documents_have_the_expected_outcomes() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/fixtures/hostile");
    let table = std::fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (file, expected) = line.split_once('\t').unwrap();
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let source = SourceDocument::new(text, Neighbours::Unknown);
        let (mut record, _) = domain::testing::record(0, "unset-cpu-requirements", "");
        record.document = source.hash;
        let outcome =
            run_slice(&Slice { records: vec![record], documents: vec![source] }, &context()).remove(0);
        if summary(&outcome) != expected {
            wrong.push(format!("{file}: {expected} expected, {}: {:?}", summary(&outcome), outcome.errors));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(seen, 200);
}

/// Everything a row holds of its document.
fn texts(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap()
}

fn outcome_with(policy: &str, yaml: &str, store_secrets: bool) -> Outcome {
    let (record, document) = domain::testing::record(0, policy, yaml);
    let slice = Slice { records: vec![record], documents: vec![document] };
    let mut context = context();
    context.config.store_secrets = store_secrets;
    run_slice(&slice, &context).pop().unwrap()
}

const WITH_SECRETS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    image: 'user:s3cr3t9@r.example.org/b:1'\n    \
args: [connect, hunter2]\n    env: [{name: DB_PASSWORD, value: hunter2}]\n    securityContext: {privileged: true}\n";

#[test]
fn a_row_holds_masks_in_place_of_secrets() {
    for policy in ["privileged-container", "env-var-secret", "latest-tag", "no-such-policy"] {
        let masked = outcome_with(policy, WITH_SECRETS, false);
        assert!(!texts(&masked).contains("hunter2") && !texts(&masked).contains("s3cr3t9"), "{masked:#?}");
        assert_eq!(texts(&masked).contains("MASKED_2"), masked.status == Status::Accepted, "{masked:#?}");
        let again = outcome_with(policy, WITH_SECRETS, false);
        assert_eq!((&masked.patched_yaml, &masked.proposal), (&again.patched_yaml, &again.proposal));
    }
}

#[test]
fn companions_are_masked_in_rows() {
    let yaml = WITH_SECRETS.replace("DB_PASSWORD", "DB_SECRET");
    let masked = outcome_with("env-var-secret", &yaml, false);
    let companions = |outcome: &Outcome| outcome.proposal.as_ref().unwrap().companions.clone();
    assert_eq!(masked.status, Status::Accepted, "{masked:#?}");
    assert!(!companions(&masked).is_empty());
    let whole = outcome_with("env-var-secret", &yaml, true);
    assert!(texts(&whole).contains("hunter2"), "with store_secrets a row holds what the document holds");
    assert_eq!(companions(&whole).len(), companions(&masked).len());
    assert_eq!(masked.proposal.unwrap().patch.len(), whole.proposal.unwrap().patch.len());
}

#[test]
fn a_row_without_secrets_is_the_same_either_way() {
    let (masked, whole) =
        (outcome_with("privileged-container", POD, false), outcome_with("privileged-container", POD, true));
    assert_eq!(
        (masked.patched_yaml, masked.proposal, masked.errors),
        (whole.patched_yaml, whole.proposal, whole.errors)
    );
}
