//! Static orders of a queue, with the paper's tie-breaks.

use std::cmp::Ordering;

use super::candidates::Candidate;
use super::score::Weights;

/// The order of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Descending score, stable; "bandit" and "baseline" in the paper.
    Score,
    /// Ascending age, then id.
    Fifo,
    /// Descending risk, then age.
    RiskOnly,
    /// Descending risk ÷ time + α · wait, stable; used by the paper's sweep.
    RiskOverTime,
    /// The same in the paper's comparison, which reverses the whole key: of equals the lower risk, then the **latest**,
    /// comes first.
    RiskOverTimeReversed,
}

/// The indices of the candidates in the order of a strategy.
pub(crate) fn order(candidates: &[Candidate], strategy: Strategy, weights: &Weights) -> Vec<usize> {
    let mut places: Vec<usize> = (0..candidates.len()).collect();
    let by = |places: &mut Vec<usize>, compare: &dyn Fn(&Candidate, &Candidate) -> Ordering| {
        places.sort_by(|a, b| match (candidates.get(*a), candidates.get(*b)) {
            (Some(a), Some(b)) => compare(a, b),
            _ => Ordering::Equal,
        });
    };
    let score = |candidate: &Candidate| weights.score(&candidate.terms);
    let ratio = |candidate: &Candidate| weights.risk_over_time(&candidate.terms);
    match strategy {
        Strategy::Score => descending(&mut places, candidates, score),
        Strategy::Fifo => {
            by(&mut places, &|a, b| (a.detection_index, &a.id).cmp(&(b.detection_index, &b.id)));
        }
        Strategy::RiskOnly => {
            descending(&mut places, candidates, score);
            by(&mut places, &by_risk);
        }
        Strategy::RiskOverTime => descending(&mut places, candidates, ratio),
        Strategy::RiskOverTimeReversed => {
            by(&mut places, &|a, b| ratio(b).total_cmp(&ratio(a)).then_with(|| by_risk(b, a)));
        }
    }
    places
}

/// Stable sort by a key that is computed once for each item.
fn descending(places: &mut [usize], candidates: &[Candidate], key: impl Fn(&Candidate) -> f64) {
    let keys: Vec<f64> = candidates.iter().map(key).collect();
    let of = |place: &usize| keys.get(*place).copied().unwrap_or(f64::NEG_INFINITY);
    places.sort_by(|a, b| of(b).total_cmp(&of(a)));
}

/// Highest risk first, then oldest.
pub(super) fn by_risk(a: &Candidate, b: &Candidate) -> Ordering {
    b.terms.risk.total_cmp(&a.terms.risk).then(a.detection_index.cmp(&b.detection_index))
}

/// Hours that each candidate waits if they are served one after the other in this order.
pub(crate) fn waits_hours(candidates: &[Candidate], order: &[usize]) -> Vec<f64> {
    let mut minutes = 0.0;
    order
        .iter()
        .filter_map(|place| candidates.get(*place))
        .map(|candidate| {
            let wait = minutes / 60.0;
            minutes += candidate.terms.expected_time;
            wait
        })
        .collect()
}
