//! In which order accepted repairs are rolled out, and what waiting costs.
//!
//! `score`, `order`, `compare` and `sweep` are the published formulas over a fixed queue. There, Et is a number of
//! minutes, one repair is served after the other, and nothing is learnt. `simulate` is the queue over time.

mod candidates;
mod compare;
mod order;
mod score;
pub mod simulate;
mod sweep;

pub use candidates::{Candidate, PolicyTerms, RiskEntries, from_cases, from_published};
pub use compare::{Comparison, compare};
pub use order::{Strategy, order, waits_hours};
pub use score::{Terms, Weights};
pub use sweep::{Grid, sweep};

use serde_json::{Value, json};

use crate::stats::round;

/// The published schedule: every candidate in the order of its score.
pub fn schedule(candidates: &[Candidate], weights: &Weights) -> Value {
    let ordered = order(candidates, Strategy::Score, weights);
    ordered
        .into_iter()
        .filter_map(|place| candidates.get(place))
        .map(|candidate| {
            let terms = &candidate.terms;
            json!({
                "id": candidate.id,
                "score": round(weights.score(terms), 6),
                "R": terms.risk,
                "p": terms.probability,
                "Et": terms.expected_time,
                "wait": terms.wait,
                "kev": terms.kev,
            })
        })
        .collect()
}
