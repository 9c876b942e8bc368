//! The candidates for rollout, from runs or from the paper's files.

use std::collections::HashMap;
use std::sync::Arc;

use domain::policy::PolicyName;
use serde_json::Value;

use super::rollout_time::{Replicas, RolloutTimes};
use super::score::Terms;
use crate::load::cases::Case;
use crate::load::files::{number, text, truth};
use crate::risk::{RiskTable, is_kev_policy};

/// The paper's default for the expected time of a repair, in minutes.
const DEFAULT_TIME: f64 = 10.0;

/// The paper's default for the probability that a repair is accepted.
const DEFAULT_PROBABILITY: f64 = 0.9;

/// A repair that can be rolled out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    /// Canonical policy.
    pub(crate) policy: Arc<str>,
    /// 0-based index of its detection: the smaller, the older the candidate counts.
    pub(crate) detection_index: usize,
    pub(crate) terms: Terms,
}

/// Terms by record id, from `risk.json`: a list or an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RiskEntries(HashMap<String, Terms>);

impl RiskEntries {
    /// Missing fields are 0 or false.
    pub(crate) fn parse(value: &Value) -> Self {
        let entry = |id: &str, entry: &Value| {
            let field = |key| number(entry, key).unwrap_or(0.0);
            let terms = Terms {
                risk: field("risk"),
                probability: field("probability"),
                expected_time: field("expected_time"),
                wait: field("wait"),
                kev: truth(entry, "kev"),
                explore: field("explore"),
            };
            (id.to_owned(), terms)
        };
        // `analysis risk` writes an object with the list under `entries` if it used feeds.
        let listed = value.get("entries").filter(|entries| entries.is_array());
        Self(match listed.unwrap_or(value) {
            Value::Array(entries) => {
                entries.iter().filter_map(|item| Some(entry(text(item, "id")?, item))).collect()
            }
            Value::Object(entries) => entries.iter().map(|(id, item)| entry(id, item)).collect(),
            _ => HashMap::new(),
        })
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Terms> {
        self.0.get(id)
    }
}

/// Terms by canonical policy, from the paper's policy metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PolicyTerms(HashMap<String, Terms>);

impl PolicyTerms {
    /// Missing fields get the paper's defaults.
    pub(crate) fn parse(value: &Value) -> Self {
        let entries = value.as_object().into_iter().flatten().map(|(policy, entry)| {
            let field = |key, default| number(entry, key).unwrap_or(default);
            let terms = Terms {
                risk: field("risk", RiskTable::PolicyMetrics.risk(policy)),
                probability: field("probability", DEFAULT_PROBABILITY),
                expected_time: field("expected_time", DEFAULT_TIME),
                wait: field("wait", 0.0),
                kev: entry.get("kev").and_then(Value::as_bool).unwrap_or_else(|| is_kev_policy(policy)),
                explore: field("explore", 0.0),
            };
            (policy.clone(), terms)
        });
        Self(entries.collect())
    }

    pub(crate) fn get(&self, policy: &str) -> Option<&Terms> {
        self.0.get(policy)
    }
}

/// The candidates of the paper's code: the accepted entries of a verdicts file, joined **by id** with a detections file
/// and a risk file, even if these belong to other runs. [`from_cases`] joins within a run.
pub(crate) fn from_paper(
    verified: &[Value],
    detections: &[Value],
    risk: &RiskEntries,
    policies: Option<&PolicyTerms>,
) -> Vec<Candidate> {
    // The last detection of an id counts.
    let mut by_id: HashMap<&str, (usize, &str)> = HashMap::new();
    for (index, detection) in detections.iter().enumerate() {
        if let Some(id) = text(detection, "id") {
            by_id.insert(id, (index, text(detection, "policy_id").unwrap_or_default()));
        }
    }
    verified
        .iter()
        .filter(|entry| truth(entry, "accepted"))
        .filter_map(|entry| {
            let id = text(entry, "id")?;
            let detection = by_id.get(id);
            let raw = detection.map(|(_, policy)| *policy).or_else(|| text(entry, "policy_id"));
            let policy = PolicyName::normalise(raw.unwrap_or_default()).as_str().to_owned();
            let by_policy = policies.and_then(|policies| policies.get(&policy));
            let terms = risk.get(id).or(by_policy).copied().unwrap_or_else(|| defaults(&policy));
            Some(Candidate {
                id: id.to_owned(),
                // Without a detection it counts as the newest.
                detection_index: detection.map_or(detections.len(), |(index, _)| *index),
                policy: policy.into(),
                terms,
            })
        })
        .collect()
}

/// The paper's terms of a candidate without an entry of its own or of its policy.
fn defaults(policy: &str) -> Terms {
    Terms {
        risk: RiskTable::Scheduler.risk(policy),
        probability: DEFAULT_PROBABILITY,
        expected_time: DEFAULT_TIME,
        wait: 0.0,
        kev: is_kev_policy(policy),
        explore: 0.0,
    }
}

/// The accepted records of runs. The risk comes from `risk`, or is the policy's base risk. The probability is the share
/// of accepted records among the judged ones of the policy. The expected time is what the rollout takes, plus the mean
/// measured time to propose and verify of the policy; a policy without measured times gets the mean over all policies.
pub(crate) fn from_cases(
    cases: &[Case],
    risk: &RiskEntries,
    times: &RolloutTimes,
    replicas: &Replicas,
) -> Vec<Candidate> {
    #[derive(Default)]
    struct Sums {
        judged: u64,
        accepted: u64,
        seconds: f64,
        measured: u64,
    }
    let mut sums: HashMap<&str, Sums> = HashMap::new();
    let mut all = Sums::default();
    for case in cases.iter().filter(|case| case.judged) {
        let policy = sums.entry(&case.policy).or_default();
        for sum in [policy, &mut all] {
            sum.judged += 1;
            sum.accepted += u64::from(case.accepted);
            if let Some(seconds) = case.times.seconds() {
                sum.seconds += seconds;
                sum.measured += 1;
            }
        }
    }
    let minutes = |sum: &Sums| (sum.measured > 0).then(|| sum.seconds / sum.measured as f64 / 60.0);
    let overall = minutes(&all).unwrap_or(0.0);
    let terms = |case: &Case| {
        let sum = sums.get(case.policy.as_ref());
        let rollout = times.minutes(&case.kind, &case.policy, replicas.of(&case.run, &case.id));
        let own = risk.get(&case.id);
        Terms {
            risk: own.map_or_else(|| RiskTable::PolicyMetrics.risk(&case.policy), |entry| entry.risk),
            probability: sum
                .map_or(DEFAULT_PROBABILITY, |sum| sum.accepted as f64 / sum.judged.max(1) as f64),
            expected_time: rollout + sum.and_then(minutes).unwrap_or(overall),
            wait: 0.0,
            kev: own.is_some_and(|entry| entry.kev),
            explore: 0.0,
        }
    };
    cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.accepted)
        .map(|(index, case)| Candidate {
            id: case.id.clone(),
            policy: Arc::clone(&case.policy),
            detection_index: index,
            terms: terms(case),
        })
        .collect()
}
