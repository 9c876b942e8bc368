//! What must hold for every input, held against inputs made to break it. `scripts/fuzz` runs the same properties over a
//! million inputs.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail as a test does")]

mod dice;
mod intake;
mod laws;
mod manifests;
mod mutations;
mod oracle;
mod patches;
mod repairs;
