//! Selects the gates that verify a repair: the engine's, or those of the paper; and asks an API server where the
//! configuration says so.

use domain::config::{GateProfile, RunConfig};
use engine::verify::{Candidate, Clock, Verification, judge_after};
use engine::yaml::to_yaml;

use crate::server_judge::LeaseJudge;

/// Verifies a repair by the gates of the run's configuration.
pub(crate) fn verify(candidate: Candidate<'_>, config: &RunConfig, clock: Clock<'_>) -> Verification {
    match config.verifier.gates {
        GateProfile::Strict => engine::verify::verify(candidate, config, clock),
        GateProfile::Published => paper::gates::verify(candidate, config, clock),
    }
}

/// As [`verify`]; `server` is asked about the companions, in their order, and about the patched document. Where it has no
/// answer the work has to stop, and the result does not count.
pub(crate) fn verify_asking(
    candidate: Candidate<'_>,
    config: &RunConfig,
    clock: Clock<'_>,
    server: Option<&LeaseJudge>,
) -> Verification {
    let mut verification = verify(candidate, config, clock);
    if let Some(server) = server {
        let _answered = ask(&mut verification, candidate, config, clock, server);
    }
    verification
}

fn ask(
    verification: &mut Verification,
    candidate: Candidate<'_>,
    config: &RunConfig,
    clock: Clock<'_>,
    server: &LeaseJudge,
) -> Option<()> {
    let (start, document) = (clock(), &candidate.document.value);
    let patched = verification.patched.as_ref()?;
    let companions = candidate.proposal.companions.iter();
    let companions: Vec<_> = companions
        .map(|companion| server.ask(&to_yaml(companion), &[document, companion]))
        .collect::<Option<_>>()?;
    let answer = server.ask(&to_yaml(patched), &[document, patched])?;
    let answer = server.admit(answer, patched, candidate.neighbours, &candidate.proposal.companions);
    let ms = clock() - start;
    judge_after(verification, candidate.document, &config.verifier, &companions, answer, ms);
    Some(())
}
