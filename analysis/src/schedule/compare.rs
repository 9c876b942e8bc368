//! The paper's comparison of four orders of one queue.

use serde_json::{Map, Value, json};

use super::candidates::Candidate;
use super::order::{Strategy, by_risk, order, waits_hours};
use super::score::Weights;
use crate::stats::{Sample, round};

/// The strategies under the paper's names.
const STRATEGIES: [(&str, Strategy); 4] = [
    ("baseline", Strategy::Score),
    ("fifo", Strategy::Fifo),
    ("risk_only", Strategy::RiskOnly),
    ("risk_time", Strategy::RiskOverTimeReversed),
];

/// One order of the queue.
#[derive(Debug, Clone, PartialEq)]
struct Ordered {
    name: &'static str,
    places: Vec<usize>,
    /// 1-based rank of each candidate.
    ranks: Vec<usize>,
    waits: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) value: Value,
    /// By strategy: name, mean rank of the top, 95th percentile of the top group's wait in hours.
    pub(crate) lines: Vec<(&'static str, f64, f64)>,
}

/// Compares the four orders by the ranks of the `top` candidates of highest risk.
pub(crate) fn compare(candidates: &[Candidate], weights: &Weights, top: usize) -> Comparison {
    let ordered: Vec<Ordered> =
        STRATEGIES.iter().map(|(name, strategy)| ordered(candidates, name, *strategy, weights)).collect();
    let mut highest: Vec<usize> = (0..candidates.len()).collect();
    highest.sort_by(|a, b| match (candidates.get(*a), candidates.get(*b)) {
        (Some(a), Some(b)) => by_risk(a, b),
        _ => std::cmp::Ordering::Equal,
    });
    highest.truncate(top);
    let mut summary = Map::new();
    summary.insert("total_candidates".to_owned(), json!(candidates.len()));
    summary.insert("top_n".to_owned(), json!(highest.len()));
    let (mut orders, mut telemetry, mut lines) = (Map::new(), Map::new(), vec![]);
    for entry in &ordered {
        let ranks: Sample =
            highest.iter().filter_map(|place| entry.ranks.get(*place)).map(|rank| *rank as f64).collect();
        summary.insert(
            entry.name.to_owned(),
            json!({
                "mean_rank_top_n": ranks.mean().unwrap_or(0.0),
                "median_rank_top_n": ranks.median().unwrap_or(0.0),
                "p95_rank_top_n": ranks.nearest_rank(95.0).unwrap_or(0.0),
            }),
        );
        let ids: Vec<&str> =
            entry.places.iter().filter_map(|place| candidates.get(*place)).map(|c| c.id.as_str()).collect();
        orders.insert(entry.name.to_owned(), json!(ids));
        let top_waits = top_group_waits(candidates, entry);
        telemetry.insert(entry.name.to_owned(), telemetry_of(candidates, entry, &top_waits));
        let p95 = top_waits.nearest_rank(95.0).unwrap_or(0.0);
        lines.push((entry.name, ranks.mean().unwrap_or(0.0), p95));
    }
    let positions: Vec<Value> = highest
        .iter()
        .filter_map(|place| Some((*place, candidates.get(*place)?)))
        .map(|(place, candidate)| {
            let mut position = Map::new();
            position.insert("id".to_owned(), json!(candidate.id));
            position.insert("policy".to_owned(), json!(candidate.policy.as_ref()));
            position.insert("risk".to_owned(), json!(candidate.terms.risk));
            for entry in &ordered {
                position.insert(format!("{}_rank", entry.name), json!(entry.ranks.get(place)));
            }
            Value::Object(position)
        })
        .collect();
    let value = json!({
        "summary": summary, "orders": orders, "top_risk_positions": positions, "telemetry": telemetry,
    });
    Comparison { value, lines }
}

fn ordered(candidates: &[Candidate], name: &'static str, strategy: Strategy, weights: &Weights) -> Ordered {
    let places = order(candidates, strategy, weights);
    let waits = waits_hours(candidates, &places);
    let mut ranks = vec![0; candidates.len()];
    for (rank, place) in places.iter().enumerate() {
        if let Some(slot) = ranks.get_mut(*place) {
            *slot = rank + 1;
        }
    }
    Ordered { name, places, ranks, waits }
}

/// Waits of the tenth of highest risk; ties are in the strategy's order, as in the paper.
fn top_group_waits(candidates: &[Candidate], entry: &Ordered) -> Sample {
    let mut group: Vec<(f64, f64)> = entry
        .places
        .iter()
        .zip(&entry.waits)
        .filter_map(|(place, wait)| Some((candidates.get(*place)?.terms.risk, *wait)))
        .collect();
    group.sort_by(|a, b| b.0.total_cmp(&a.0));
    group.truncate((candidates.len() / 10).max(1));
    group.into_iter().map(|(_, wait)| wait).collect()
}

fn telemetry_of(candidates: &[Candidate], entry: &Ordered, top: &Sample) -> Value {
    let ordered = || entry.places.iter().filter_map(|place| candidates.get(*place));
    let hours = ordered().map(|candidate| candidate.terms.expected_time).sum::<f64>() / 60.0;
    let reduced: f64 = ordered().map(|candidate| candidate.terms.risk * candidate.terms.probability).sum();
    let per_hour = |what: f64| if hours > 0.0 { round(what / hours, 4) } else { 0.0 };
    let figures = |waits: &Sample| {
        json!({
            "mean": round(waits.mean().unwrap_or(0.0), 4),
            "median": round(waits.median().unwrap_or(0.0), 4),
            "p95": round(waits.nearest_rank(95.0).unwrap_or(0.0), 4),
            "max": round(waits.max().unwrap_or(0.0), 4),
        })
    };
    let waits: Sample = entry.waits.iter().copied().collect();
    json!({
        "items": candidates.len(),
        "total_runtime_hours": round(hours, 4),
        "throughput_per_hour": per_hour(candidates.len() as f64),
        "risk_reduction_per_hour": per_hour(reduced),
        "wait_hours": figures(&waits),
        "top_risk_wait_hours": figures(top),
    })
}
