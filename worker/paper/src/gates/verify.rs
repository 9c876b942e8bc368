//! Runs the published gates in place of the engine's.

use domain::config::RunConfig;
use domain::outcome::{Gate, GateResult, Gates};
use engine::verify::{Candidate, Clock, Verification, collateral, fault, runs, schema_of_patched, timed};

use super::judge::judge;

/// Judges a repair by the gates that judged the published runs: no schema of ours, no rescan, and a patch that does not
/// apply fails policy and safety too.
pub fn verify(candidate: Candidate<'_>, config: &RunConfig, clock: Clock<'_>) -> Verification {
    let mut gates = Gates { schema_before: candidate.before.schema.clone(), ..Gates::NOT_RUN };
    let start = clock();
    let judged = judge(&candidate.document.value, candidate.policy, &candidate.proposal.patch);
    let ms = clock() - start;
    let mut patched = None;
    match judged.apply {
        Ok(value) => {
            gates.apply = GateResult::from_errors(Vec::new());
            if runs(Gate::Schema, config) {
                gates.schema = timed(clock, || {
                    schema_of_patched(candidate.document, &value, config.verifier.kubernetes)
                });
            }
            patched = Some(value);
        }
        Err(error) => gates.apply = GateResult::from_errors(vec![error]),
    }
    gates.apply.ms = Some(ms);
    if runs(Gate::Policy, config) && patched.is_some() {
        gates.policy = GateResult::from_errors(judged.policy_errors);
    }
    if runs(Gate::Safety, config) && patched.is_some() {
        gates.safety = GateResult::from_errors(judged.safety_errors);
    }
    let fault = fault(&gates, candidate.document, config.verifier.kubernetes);
    // Counted, and rejected by none of these gates.
    let collateral =
        patched.as_ref().map(|patched| collateral(candidate, patched, config)).unwrap_or_default();
    Verification { gates, fault, new_violations: Vec::new(), collateral, patched, server: None }
}
