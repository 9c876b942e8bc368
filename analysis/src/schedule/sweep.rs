//! The paper's sweep: the same queue under a grid of weights.

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::candidates::Candidate;
use super::order::{Strategy, by_risk, order, waits_hours};
use super::score::Weights;
use crate::stats::{Sample, round};

/// The grid, and the parameters of the summary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) alphas: Vec<f64>,
    pub(crate) explore: Vec<f64>,
    pub(crate) epsilon: f64,
    /// Upper ends of the bands of risk, as shares of the ranks by risk.
    pub(crate) quantiles: Vec<f64>,
    /// Hours after which a repair counts as starved.
    pub(crate) starved_hours: f64,
    /// The head of the queue, as a share.
    pub(crate) head: f64,
    /// Whether each entry lists its whole order, as in the paper.
    pub(crate) orders: bool,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            alphas: vec![0.0, 0.5, 1.0, 2.0],
            explore: vec![0.0, 1.0],
            epsilon: 1e-6,
            quantiles: vec![0.25, 0.75],
            starved_hours: 72.0,
            head: 0.1,
            orders: true,
        }
    }
}

impl Grid {
    /// Names of the bands, highest risk first. As in the paper, further bands follow `Low`.
    pub(crate) fn labels(&self) -> Vec<String> {
        let named = ["High", "Mid", "Low"].map(str::to_owned);
        (0..=self.quantiles.len())
            .map(|band| named.get(band).cloned().unwrap_or_else(|| format!("Band{}", band - 2)))
            .collect()
    }

    /// The band of each candidate by its rank among all (risk, then age).
    pub(super) fn bands(&self, candidates: &[Candidate]) -> Vec<usize> {
        let mut ranked: Vec<usize> = (0..candidates.len()).collect();
        ranked.sort_by(|a, b| match (candidates.get(*a), candidates.get(*b)) {
            (Some(a), Some(b)) => by_risk(a, b),
            _ => std::cmp::Ordering::Equal,
        });
        let last = candidates.len().saturating_sub(1).max(1) as f64;
        let mut bands = vec![0; candidates.len()];
        for (rank, place) in ranked.into_iter().enumerate() {
            let share = rank as f64 / last;
            let band = self.quantiles.iter().position(|end| *end >= share).unwrap_or(self.quantiles.len());
            if let Some(slot) = bands.get_mut(place) {
                *slot = band;
            }
        }
        bands
    }
}

/// A point of the grid: the paper's name of its mode, its order, and the weights that are printed.
struct Point {
    mode: &'static str,
    strategy: Strategy,
    weights: Weights,
    named: [Value; 2],
}

/// The points of a grid, in the paper's order.
fn points(grid: &Grid) -> Vec<Point> {
    let weights = |alpha, explore| Weights { alpha, explore, epsilon: grid.epsilon, ..Weights::default() };
    let of_alpha = |alpha: &f64| {
        let bandit = grid.explore.iter().map(|explore| Point {
            mode: "bandit",
            strategy: Strategy::Score,
            weights: weights(*alpha, *explore),
            named: [json!(alpha), json!(explore)],
        });
        let aging = Point {
            mode: "risk_over_et_aging",
            strategy: Strategy::RiskOverTime,
            weights: weights(*alpha, Weights::default().explore),
            named: [json!(alpha), json!(0.0)],
        };
        bandit.chain([aging]).collect::<Vec<_>>()
    };
    let risk_only = Point {
        mode: "risk_only",
        strategy: Strategy::RiskOnly,
        weights: Weights::default(),
        named: [Value::Null, Value::Null],
    };
    grid.alphas.iter().flat_map(of_alpha).chain([risk_only]).collect()
}

/// The entries of the sweep, in the paper's order and format.
pub(crate) fn sweep(candidates: &[Candidate], grid: &Grid) -> Vec<Value> {
    let bands = grid.bands(candidates);
    points(grid).into_par_iter().map(|point| entry(point, candidates, &bands, grid)).collect()
}

fn entry(point: Point, candidates: &[Candidate], bands: &[usize], grid: &Grid) -> Value {
    let places = order(candidates, point.strategy, &point.weights);
    let waits = waits_hours(candidates, &places);
    let labels = grid.labels();
    let band_of = |place: &usize| bands.get(*place).copied().unwrap_or_default();
    let figures = |sample: &Sample| {
        let of = |p| round(sample.linear(p).unwrap_or(0.0), 4);
        json!({"median": of(50.0), "p90": of(90.0), "p95": of(95.0)})
    };
    let by_band: Map<String, Value> = labels
        .iter()
        .enumerate()
        .filter_map(|(band, label)| {
            let of_band: Sample = places
                .iter()
                .zip(&waits)
                .filter(|(place, _)| band_of(place) == band)
                .map(|(_, w)| *w)
                .collect();
            (!of_band.is_empty()).then(|| (label.clone(), figures(&of_band)))
        })
        .collect();
    let all: Sample = waits.iter().copied().collect();
    let mut overall = figures(&all);
    if let Value::Object(overall) = &mut overall {
        overall.insert("gini".to_owned(), json!(round(all.gini().unwrap_or(0.0), 4)));
        overall.insert("starvation_rate".to_owned(), json!(round(all.share_above(grid.starved_hours), 4)));
        overall.insert("low_risk_head_share".to_owned(), json!(round(head_share(&places, bands, grid), 4)));
    }
    let [alpha, explore] = point.named;
    let mut entry = json!({
        "mode": point.mode,
        "band_wait_hours": by_band,
        "overall_wait_hours": overall,
        "alpha": alpha,
        "explore_weight": explore,
    });
    if let Some(entry) = entry.as_object_mut().filter(|_| grid.orders) {
        let ids: Vec<&str> =
            places.iter().filter_map(|place| candidates.get(*place)).map(|c| c.id.as_str()).collect();
        entry.insert("order".to_owned(), json!(ids));
    }
    entry
}

/// Share of the lowest band in the head of the queue.
fn head_share(places: &[usize], bands: &[usize], grid: &Grid) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let head = (places.len() as f64 * grid.head.clamp(0.0, 1.0)).ceil() as usize;
    let low =
        places.iter().take(head).filter(|place| bands.get(**place) == Some(&grid.quantiles.len())).count();
    if head == 0 { 0.0 } else { low as f64 / head as f64 }
}
