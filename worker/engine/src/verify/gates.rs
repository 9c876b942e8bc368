//! Runs the gates in their order, except those that the configuration disables (for ablation studies), and assigns the
//! fault of a failure.

use domain::api_server::KubernetesRelease;
use domain::config::{DetectorConfig, RunConfig};
use domain::outcome::{Fault, Gate, GateResult, Gates, Proposal, Verdict};
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use serde_json::Value;

use super::collateral::NOT_NEEDED;
use super::server_result::ServerResult;
use super::{apply, collateral as extra, policy, rescan, safety, schema};
use crate::detect::{detect, detect_with};
use crate::document::{Document, Identity};
use crate::k8s::{View, dependants, neighbours};
use crate::policies::Finding;

/// A clock passed by the caller, since the engine reads no time itself: ms since an arbitrary fixed moment.
pub type Clock<'c> = &'c dyn Fn() -> f64;

/// Findings and schema verdict of an unpatched document: computed once, used for every record of the document.
#[derive(Debug, Clone, PartialEq)]
pub struct Before {
    /// The findings of the configured policies.
    pub findings: Vec<Finding>,
    /// The schema gate's verdict.
    pub schema: GateResult,
    /// What an API server answered; `None`: none was asked.
    pub server: Option<ServerResult>,
}

/// Runs the detectors on an unpatched document and, if it is enabled, the schema gate.
pub fn examine(document: &Document, neighbours: &Neighbours, config: &RunConfig, clock: Clock<'_>) -> Before {
    let findings = detect(&View::new(document, neighbours), config.detector.policies());
    let schema = if runs(Gate::Schema, config) {
        timed(clock, || schema::of_document(document, config.verifier.kubernetes))
    } else {
        GateResult::NOT_RUN
    };
    Before { findings, schema, server: None }
}

/// A repair to verify, with its target policy and document.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The unpatched document.
    pub document: &'a Document,
    /// Related objects of the same input.
    pub neighbours: &'a Neighbours,
    /// Findings and schema verdict of the unpatched document.
    pub before: &'a Before,
    /// The target policy.
    pub policy: &'a PolicyName,
    /// The repair.
    pub proposal: &'a Proposal,
}

/// Result of the gates for a repair.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Verdicts, errors and times.
    pub gates: Gates,
    /// Whether the patch or the document causes a failure.
    pub fault: Fault,
    /// Findings that the original document did not have.
    pub new_violations: Vec<String>,
    /// What the repair changes or brings and the policy does not need, as `added /spec/nodeName`. Counted whether or not
    /// a gate rejects it.
    pub collateral: Vec<String>,
    /// The patched document; `None` when the patch does not apply.
    pub patched: Option<Value>,
    /// What an API server answered about the patched document; `None`: none was asked.
    pub server: Option<ServerResult>,
}

impl Verification {
    /// Whether no gate failed.
    pub fn accepted(&self) -> bool {
        self.gates.first_failed().is_none()
    }

    /// Every gate's errors, in the order of the gates.
    pub fn errors(&self) -> Vec<String> {
        Gate::ALL.iter().flat_map(|gate| self.gates.of(*gate).errors.iter().cloned()).collect()
    }
}

/// Signature of [`verify`]. The caller chooses the function, because the gates of the paper are in another crate.
pub type Verify = fn(Candidate<'_>, &RunConfig, Clock<'_>) -> Verification;

/// A function such as [`verify`] that may hold what it needs besides: who is asked at the server depth.
pub type Verifier<'v> = &'v dyn Fn(Candidate<'_>, &RunConfig, Clock<'_>) -> Verification;

/// Whether a gate is enabled in the configuration.
pub fn runs(gate: Gate, config: &RunConfig) -> bool {
    !config.verifier.disabled_gates.contains(&gate)
}

/// Runs a gate and records its time in the result.
pub fn timed(clock: Clock<'_>, gate: impl FnOnce() -> GateResult) -> GateResult {
    let start = clock();
    let mut result = gate();
    result.ms = Some(clock() - start);
    result
}

/// Verifies a repair. If the patch applies, every other enabled gate runs, even after a failed one, so that each gate
/// can be evaluated alone.
pub fn verify(candidate: Candidate<'_>, config: &RunConfig, clock: Clock<'_>) -> Verification {
    let mut gates = Gates { schema_before: candidate.before.schema.clone(), ..Gates::NOT_RUN };
    let start = clock();
    let applied = apply::apply(&candidate.document.value, &candidate.proposal.patch)
        .map_err(|error| error.to_string())
        .and_then(|value| Document::from_value(value).map_err(|error| error.to_string()));
    gates.apply = GateResult::from_errors(applied.as_ref().err().cloned().into_iter().collect());
    gates.apply.ms = Some(clock() - start);
    let Ok(patched) = applied else {
        return Verification {
            gates,
            fault: Fault::Patch,
            new_violations: Vec::new(),
            collateral: Vec::new(),
            patched: None,
            server: None,
        };
    };

    let patched_neighbours =
        neighbours_after(candidate.neighbours, &candidate.proposal.companions, config.detector);
    let before = View::new(candidate.document, candidate.neighbours);
    let after = View::new(&patched, &patched_neighbours);
    let mut new_violations = Vec::new();
    // Runs even if the gate is disabled: the rescan uses the verdict.
    let policy =
        timed(clock, || GateResult::from_errors(policy::errors(&after, candidate.policy, &config.rules)));
    let holds = policy.verdict == Verdict::Passed;
    if runs(Gate::Policy, config) {
        gates.policy = policy;
    }
    // Counted even if the gate is disabled.
    let mut needless = Vec::new();
    let safety = timed(clock, || {
        needless =
            extra::of(&before, &after, candidate.policy, &config.rules, &candidate.proposal.companions);
        let errors = safety::errors(&before, &after, candidate.policy, &config.rules);
        let refused =
            needless.iter().map(|what| format!("{NOT_NEEDED}{}: {what}", candidate.policy.as_str()));
        GateResult::from_errors(errors.into_iter().chain(refused).collect())
    });
    if runs(Gate::Safety, config) {
        gates.safety = safety;
    }
    if runs(Gate::Schema, config) {
        let release = config.verifier.kubernetes;
        gates.schema =
            timed(clock, || schema_after(candidate.document, &patched.value, candidate.proposal, release));
    }
    if runs(Gate::Rescan, config) {
        let wanted = config.detector.policies();
        gates.rescan = timed(clock, || {
            let mut found = rescan::compare(
                (&before, &candidate.before.findings),
                (&after, &detect_with(&after, wanted, candidate.policy)),
                candidate.policy,
                holds,
            );
            found.new.extend(companion_findings(&candidate.proposal.companions, wanted));
            found.new.extend(dependants::left_behind(&before, &after));
            new_violations.clone_from(&found.new);
            GateResult::from_errors(found.remaining.into_iter().chain(found.new).collect())
        });
    }
    let fault = fault(&gates, candidate.document, config.verifier.kubernetes);
    Verification {
        gates,
        fault,
        new_violations,
        collateral: needless,
        patched: Some(patched.value),
        server: None,
    }
}

/// The collateral of a repair whose patch gives `patched`, for gates that do not reject it.
pub fn collateral(candidate: Candidate<'_>, patched: &Value, config: &RunConfig) -> Vec<String> {
    let identity = Identity::of(patched);
    let before = View::new(candidate.document, candidate.neighbours);
    let after = View::of(patched, &identity, candidate.neighbours);
    extra::of(&before, &after, candidate.policy, &config.rules, &candidate.proposal.companions)
}

/// The neighbours of the patched document: those before the patch and what the companions offer. Unknown neighbours
/// become the companions' offers alone, or stay unknown if there are none.
pub(super) fn neighbours_after(
    before: &Neighbours,
    companions: &[Value],
    detector: DetectorConfig,
) -> Neighbours {
    let offers: Vec<_> = companions
        .iter()
        .filter_map(|companion| Document::from_value(companion.clone()).ok())
        .flat_map(|companion| {
            let reference = detector.is_beyond_paper().then(|| neighbours::reference(&companion)).flatten();
            neighbours::offer(&companion).into_iter().chain(reference)
        })
        .collect();
    if offers.is_empty() {
        return before.clone();
    }
    Neighbours::Known(before.objects().iter().cloned().chain(offers).collect())
}

fn schema_after(
    document: &Document,
    patched: &Value,
    proposal: &Proposal,
    release: KubernetesRelease,
) -> GateResult {
    let mut result = schema::of_patched(document, patched, release);
    for companion in &proposal.companions {
        let found = schema::of_value(companion, release);
        if found.verdict == Verdict::Failed {
            result.verdict = Verdict::Failed;
            result.errors.extend(found.errors.into_iter().map(|error| format!("companion: {error}")));
        }
    }
    result
}

fn companion_findings(companions: &[Value], wanted: &[PolicyId]) -> Vec<String> {
    let documents = companions.iter().filter_map(|value| Document::from_value(value.clone()).ok());
    documents
        .flat_map(|document| detect(&View::new(&document, &Neighbours::Unknown), wanted))
        .filter(|finding| finding.policy != rescan::OF_THE_TEXT)
        .map(|finding| format!("companion: {}: {}", finding.policy, finding.message))
        .collect()
}

/// Assigns the fault of a failure: `Patch` if the patch breaks anything, `Document` if the document had all of the
/// errors before (or had them behind others that the patch mended, in the opinion of `release`), `None` if no gate failed.
pub fn fault(gates: &Gates, document: &Document, release: KubernetesRelease) -> Fault {
    let by_patch = [Gate::Apply, Gate::Policy, Gate::Safety, Gate::Rescan]
        .iter()
        .any(|gate| gates.of(*gate).verdict == Verdict::Failed);
    if by_patch || schema::is_worse(document, &gates.schema_before.errors, &gates.schema.errors, release) {
        Fault::Patch
    } else if gates.schema.verdict == Verdict::Failed {
        Fault::Document
    } else {
        Fault::None
    }
}
