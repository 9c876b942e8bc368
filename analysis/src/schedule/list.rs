//! The paper's schedule: every candidate in the order of its score.

use serde_json::{Value, json};

use super::candidates::Candidate;
use super::order::{Strategy, order};
use super::score::Weights;
use crate::stats::round;

pub(crate) fn schedule(candidates: &[Candidate], weights: &Weights) -> Value {
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
