//! The sections of a report, one per file.

mod acceptance;
pub(super) mod audit;
pub(super) mod comparison;
mod ended;
mod failures;
mod measured;
pub(super) mod provenance;
mod queue;
pub(super) mod stability;
mod tokens;

use super::block::Block;
use super::options::Options;
use super::run::Run;
use crate::load::AnalysisError;

/// A section that is computed for every run.
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The blocks of a run.
    pub(super) of: fn(&Run, &Options) -> Result<Vec<Block>, AnalysisError>,
}

/// The sections in order.
pub(super) const OF_A_RUN: &[Part] = &[
    Part { id: "ended", title: "How records ended", of: ended::blocks },
    Part { id: "acceptance", title: "Acceptance", of: acceptance::blocks },
    Part { id: "failures", title: "What failed", of: failures::blocks },
    Part { id: "patches", title: "Patches", of: measured::patches },
    Part { id: "times", title: "Times", of: measured::times },
    Part { id: "tokens", title: "Tokens and cost", of: tokens::blocks },
    Part { id: "queue", title: "Rollout queue", of: queue::blocks },
];
