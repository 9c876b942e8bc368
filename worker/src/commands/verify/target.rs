//! What one changed object of a hand-made repair is judged by, and the verdict on it.
//!
//! A repair may clear several policies. Each is judged by the gates alone; what one policy does not need another may, so that
//! a change counts as collateral only where no policy that the repair clears needs it.
//!
//! What a repair clears is what `worker detect` finds before it and not after it. The gate *policy* of runs demands more of some
//! policies than their detector looks for (that ALL capabilities are dropped, where kube-linter asks for `NET_RAW`): that is said
//! beside the verdict, and decides only where [`Clearing::Gate`] is asked for.

use std::collections::BTreeSet;
use std::time::Instant;

use domain::config::{RunConfig, SecurityLevel};
use domain::outcome::{Fault, Gate, GateResult, Gates, Proposal, Verdict};
use domain::patch::Patch;
use domain::policy::{PolicyId, PolicyName};
use engine::document::Document;
use engine::k8s::View;
use engine::steps::limited;
use engine::verify::{Candidate, NOT_NEEDED, Verification, examine, fault, runs};
use serde_json::Value;

use super::objects::Object;
use crate::verifier::verify;

/// Who says whether a hand-made repair clears a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::commands) enum Clearing {
    /// The detector, as in `worker detect`.
    #[default]
    Detector,
    /// The gate *policy*, as in runs.
    Gate,
}

/// The verdict on one object.
#[derive(Debug)]
pub(super) struct Judgement {
    /// The policies that the repair clears, or that it was to clear.
    pub(super) policies: Vec<PolicyId>,
    /// The policies that the object violated and still does.
    pub(super) left: Vec<PolicyId>,
    pub(super) gates: Gates,
    pub(super) fault: Fault,
    pub(super) collateral: Vec<String>,
    pub(super) new_violations: Vec<String>,
    /// What the gate *policy* of runs demands beyond the detector.
    pub(super) beyond: Vec<String>,
    pub(super) patched: Option<Value>,
}

/// Judges what a patch with its companions makes of an object. `named`: what it has to clear; empty: what it clears.
pub(super) fn judge(
    object: &Object,
    patch: &Patch,
    companions: &[Value],
    (named, clearing): (&[PolicyId], Clearing),
    config: &RunConfig,
) -> anyhow::Result<Judgement> {
    let judge = || judged(object, patch, companions, (named, clearing), config);
    Ok(limited(config.limits.record_steps, judge)?)
}

fn judged(
    object: &Object,
    patch: &Patch,
    companions: &[Value],
    (named, clearing): (&[PolicyId], Clearing),
    config: &RunConfig,
) -> Judgement {
    let start = Instant::now();
    let clock = || start.elapsed().as_secs_f64() * 1e3;
    // Which policies it clears is asked for also where that gate does not judge.
    let mut asking = config.clone();
    asking.verifier.disabled_gates.remove(&Gate::Policy);
    let before = examine(&object.document, &object.neighbours, config, &clock);
    let violated = violated(&object.document, object, config);
    let proposal = Proposal { patch: patch.clone(), companions: companions.to_vec(), ..Proposal::default() };
    let verify = |policy: &PolicyName| {
        let candidate = Candidate {
            document: &object.document,
            neighbours: &object.neighbours,
            before: &before,
            policy,
            proposal: &proposal,
        };
        verify(candidate, &asking, &clock)
    };
    let mut beyond = BTreeSet::new();
    let known = |id: &PolicyId| {
        let mut found = verify(&PolicyName::Known(*id));
        if clearing == Clearing::Detector && !is_found_after(&found, *id, object, config) {
            beyond.extend(
                std::mem::replace(&mut found.gates.policy, GateResult::from_errors(Vec::new())).errors,
            );
        }
        (*id, found)
    };
    let all: Vec<(PolicyId, Verification)> =
        violated.iter().chain(named.iter().filter(|id| !violated.contains(id))).map(known).collect();
    let clears = |found: &Verification| found.gates.policy.verdict == Verdict::Passed;
    let (cleared, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, found)| clears(found));
    let is_named = |id: &PolicyId| named.is_empty() || named.contains(id);
    let (mut targets, others): (Vec<_>, Vec<_>) = cleared.into_iter().partition(|(id, _)| is_named(id));
    let mut still: Vec<PolicyId> = left.iter().map(|(id, _)| *id).collect();
    // What it was to clear and does not.
    let clears_none = named.is_empty() && targets.is_empty();
    let failed: Vec<_> = left.into_iter().filter(|(id, _)| named.contains(id) || clears_none).collect();
    still.retain(|id| !failed.iter().any(|(failed, _)| failed == id));
    // What it clears besides excuses what that needs.
    let besides: Vec<Verification> = others.into_iter().map(|(_, found)| found).collect();
    targets.extend(failed);
    let policies: Vec<PolicyId> = targets.iter().map(|(id, _)| *id).collect();
    let mut verifications: Vec<Verification> = targets.into_iter().map(|(_, found)| found).collect();
    if verifications.is_empty() {
        // An object that violates nothing needs no repair.
        verifications.push(verify(&PolicyName::Unknown("any policy".to_owned())));
    }
    let words: Vec<&str> = policies.iter().map(|id| id.as_str()).collect();
    let judgement =
        combined(&verifications, &besides, &words.join(", "), object, config, (policies.clone(), still));
    Judgement { beyond: beyond.into_iter().collect(), ..judgement }
}

/// Whether the detector still finds the policy violated in what the repair makes of the object. `restricted` asks for more
/// than the detector looks for, and the user asked for that.
fn is_found_after(found: &Verification, policy: PolicyId, object: &Object, config: &RunConfig) -> bool {
    let Some(patched) = found.patched.clone().and_then(|value| Document::from_value(value).ok()) else {
        return true;
    };
    let view = View::new(&patched, &object.neighbours);
    config.rules.level == SecurityLevel::Restricted
        || found.gates.policy.verdict != Verdict::Failed
        || !engine::detect::found(policy, &view, &config.rules).is_empty()
}

/// The policies that an object violates, of those that are looked for.
fn violated(document: &Document, object: &Object, config: &RunConfig) -> Vec<PolicyId> {
    let view = View::new(document, &object.neighbours);
    let policies = config.detector.policies().iter().copied();
    policies.filter(|policy| !engine::detect::found(*policy, &view, &config.rules).is_empty()).collect()
}

fn combined(
    targets: &[Verification],
    besides: &[Verification],
    words: &str,
    object: &Object,
    config: &RunConfig,
    (policies, left): (Vec<PolicyId>, Vec<PolicyId>),
) -> Judgement {
    let union = |gate: Gate| {
        let errors = targets.iter().flat_map(|found| found.gates.of(gate).errors.iter().cloned());
        let mut seen = BTreeSet::new();
        result(errors.filter(|error| seen.insert(error.clone())).collect(), gate, targets, config)
    };
    let needless = common(targets.iter().chain(besides).map(|found| found.collateral.clone()));
    let own = |found: &Verification| -> Vec<String> {
        let errors = found.gates.safety.errors.iter().filter(|error| !error.starts_with(NOT_NEEDED));
        errors.cloned().collect()
    };
    let mut safety = common(targets.iter().chain(besides).map(own));
    let is_refused = targets
        .iter()
        .any(|found| found.gates.safety.errors.iter().any(|error| error.starts_with(NOT_NEEDED)));
    if is_refused {
        let words = if words.is_empty() { "any policy" } else { words };
        safety.extend(needless.iter().map(|what| format!("{NOT_NEEDED}{words}: {what}")));
    }
    let mut gates = Gates {
        apply: union(Gate::Apply),
        policy: union(Gate::Policy),
        safety: result(safety, Gate::Safety, targets, config),
        schema: union(Gate::Schema),
        rescan: union(Gate::Rescan),
        ..Gates::NOT_RUN
    };
    if policies.is_empty() && gates.policy.verdict == Verdict::Failed {
        gates.policy.errors = vec!["the object violates no policy, and needs no repair".to_owned()];
    }
    if let Some(first) = targets.first() {
        gates.schema_before = first.gates.schema_before.clone();
    }
    let fault = fault(&gates, &object.document, config.verifier.kubernetes);
    let new = targets.iter().flat_map(|found| found.new_violations.iter().cloned());
    Judgement {
        policies,
        left,
        fault,
        collateral: needless,
        beyond: Vec::new(),
        new_violations: new.collect::<BTreeSet<_>>().into_iter().collect(),
        patched: targets.first().and_then(|found| found.patched.clone()),
        gates,
    }
}

fn result(errors: Vec<String>, gate: Gate, targets: &[Verification], config: &RunConfig) -> GateResult {
    let ran = targets.iter().any(|found| found.gates.of(gate).verdict != Verdict::NotRun);
    if ran && (gate == Gate::Apply || runs(gate, config)) {
        GateResult::from_errors(errors)
    } else {
        GateResult::NOT_RUN
    }
}

/// What is in every list, in the order of the first.
fn common(lists: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    lists
        .reduce(|first, next| {
            let next: BTreeSet<String> = next.into_iter().collect();
            first.into_iter().filter(|text| next.contains(text)).collect()
        })
        .unwrap_or_default()
}
