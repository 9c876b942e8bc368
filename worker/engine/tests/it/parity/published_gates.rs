//! Recorded patches get their recorded verdicts.

use std::fmt::Debug;

use domain::policy::PolicyName;
use engine::verify::published;

use super::corpus::{Recorded, for_each};

/// What was judged otherwise than recorded.
#[derive(Default)]
struct Differences {
    policy: Vec<String>,
    safety: Vec<String>,
    accepted: Vec<String>,
    errors: Vec<String>,
}

/// Errors of the gates that run here, as recorded; those of the schema gate are left out, and the map that a text
/// prints is cut.
fn recorded_errors(record: &Recorded) -> Vec<String> {
    let texts = record.verdict.errors.iter().filter(|text| !text.starts_with("kubectl"));
    texts
        .map(|text| match text.find(" not found in {") {
            Some(at) => format!("{} not found in {{…}}", &text[..at]),
            None => text.clone(),
        })
        .collect()
}

fn compare(run: &str) -> Option<(usize, Differences)> {
    let folder = domain::testing::corpus(run)?;
    let mut differences = Differences::default();
    let count = for_each(&folder, |record| {
        let policy = PolicyName::normalise(&record.raw_policy_id);
        let judgement = published::judge(&record.document, &policy, &record.patch);
        let verdict = &record.verdict;
        let note = |list: &mut Vec<String>, recorded: &dyn Debug| {
            let (id, raw) = (&record.id, &record.raw_policy_id);
            list.push(format!("{id} {raw}: recorded {recorded:?}, ours {:?}", judgement.errors()));
        };
        if verdict.ok_policy.is_some_and(|ok| ok != judgement.ok_policy()) {
            note(&mut differences.policy, &verdict.ok_policy);
        }
        if verdict.ok_safety.is_some_and(|ok| ok != judgement.ok_safety()) {
            note(&mut differences.safety, &verdict.ok_safety);
        }
        if judgement.accepted(verdict.ok_schema) != verdict.accepted {
            note(&mut differences.accepted, &verdict.accepted);
        }
        if judgement.errors() != recorded_errors(&record) {
            note(&mut differences.errors, &recorded_errors(&record));
        }
    });
    Some((count, differences))
}

fn is_exact(run: &str, records: usize) {
    let Some((count, differences)) = compare(run) else { return };
    let first = |list: &[String]| list.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert_eq!(count, records);
    assert!(
        differences.policy.is_empty(),
        "policy {}\n{}",
        differences.policy.len(),
        first(&differences.policy)
    );
    assert!(
        differences.safety.is_empty(),
        "safety {}\n{}",
        differences.safety.len(),
        first(&differences.safety)
    );
    assert!(
        differences.accepted.is_empty(),
        "accepted {}\n{}",
        differences.accepted.len(),
        first(&differences.accepted)
    );
    assert!(
        differences.errors.is_empty(),
        "errors {}\n{}",
        differences.errors.len(),
        first(&differences.errors)
    );
}

#[test]
fn every_verdict_of_the_rules_run_is_the_recorded_one() {
    is_exact("rules_full", 13_656);
}

#[test]
fn every_verdict_of_the_model_run_is_the_recorded_one() {
    is_exact("grok_5k_dev", 2_462);
}

/// The curated run was judged by an earlier version of the gates, which is not rebuilt here: most verdicts agree.
#[test]
fn verdicts_of_the_curated_run_mostly_agree() {
    let Some((count, differences)) = compare("supported") else { return };
    assert_eq!(count, 1_278);
    let policy = differences.policy.len();
    eprintln!(
        "supported: {policy} of {count} policy verdicts differ, {} accepted",
        differences.accepted.len()
    );
    assert!(policy * 2 < count, "{policy} of {count} policy verdicts differ");
}
