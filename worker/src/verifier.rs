//! Selects the gates that verify a repair: the engine's, or those of the paper.

use domain::config::{GateProfile, RunConfig};
use engine::verify::{Candidate, Clock, Verification};

/// Verifies a repair by the gates of the run's configuration.
pub(crate) fn verify(candidate: Candidate<'_>, config: &RunConfig, clock: Clock<'_>) -> Verification {
    match config.verifier.gates {
        GateProfile::Strict => engine::verify::verify(candidate, config, clock),
        GateProfile::Published => paper::gates::verify(candidate, config, clock),
    }
}
