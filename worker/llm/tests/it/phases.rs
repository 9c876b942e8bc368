//! The limiter against many curves of each kind: the limit is probed about every twenty seconds, so the result on a
//! single curve depends on its phase. These tests average over rhythms, phases and bursts.

use domain::budget::BudgetLimits;
use llm::limit::Controller;

use crate::curves::plain;
use crate::load::{Curve, Neighbours, Stall, Step, WARM, curve, play};

/// Shares of what was allowed, and of calls refused, over all curves of a kind.
struct Sweep {
    kind: &'static str,
    shares: Vec<f64>,
    refused: Vec<f64>,
}

impl Sweep {
    fn new(kind: &'static str) -> Self {
        Self { kind, shares: Vec::new(), refused: Vec::new() }
    }

    /// Plays `curve` and counts from `from` to `to`.
    fn play(&mut self, curve: &Curve, from: f64, to: f64) {
        for seed in 0..2 {
            let seen = play(curve, &mut Controller::new(&BudgetLimits::default(), 0.0), seed);
            self.shares.push(seen.share(curve, from, to));
            self.refused.push(seen.refused());
        }
    }

    /// At least `mean` and `least` of what was allowed, at most `refused` of the calls refused.
    fn must(&self, mean: f64, least: f64, refused: f64) {
        let average = self.shares.iter().sum::<f64>() / self.shares.len() as f64;
        let worst = self.shares.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.refused.iter().copied().fold(0.0, f64::max);
        let text =
            format!("{}: mean {average:.3}, least {worst:.3}, refused {:.2} %", self.kind, 100.0 * most);
        assert!(average >= mean && worst >= least && most <= refused, "{text}");
    }
}

/// A limit of so much from each moment on.
fn steps<const N: usize>(limits: [(f64, f64); N]) -> Vec<Step> {
    limits.map(|(from, limit)| Step { from, limit }).into()
}

#[test]
fn neighbours_of_any_rhythm_are_followed() {
    let mut sweep = Sweep::new("neighbours");
    for every in [30.0, 36.0, 40.0, 44.0, 50.0, 60.0, 75.0] {
        for long in [8.0, 10.0, 13.0] {
            let mut curve = curve("neighbours");
            curve.neighbours = Some(Neighbours { every, r#for: long, take: 0.667 });
            sweep.play(&curve, WARM, curve.seconds);
        }
    }
    sweep.must(0.96, 0.92, 0.011);
}

#[test]
fn a_limit_that_halves_and_doubles_at_any_moment_is_followed() {
    let [mut whole, mut down, mut up] = ["halving", "after the drop", "after the rise"].map(Sweep::new);
    for shift in 0..12 {
        let (fall, rise) = (120.0 + 2.0 * f64::from(shift), 240.0 + 4.0 * f64::from(shift));
        let mut curve = curve("halving");
        curve.requests_per_second = steps([(0.0, 30.0), (fall, 15.0), (rise, 30.0)]);
        curve.seconds = 420.0;
        whole.play(&curve, WARM, curve.seconds);
        down.play(&curve, fall + 10.0, fall + 30.0);
        up.play(&curve, rise + 30.0, rise + 50.0);
    }
    whole.must(0.98, 0.965, 0.006);
    down.must(0.97, 0.95, 0.006);
    up.must(0.97, 0.95, 0.006);
}

#[test]
fn the_pace_recovers_from_a_stall_at_any_time() {
    let mut sweep = Sweep::new("stalls");
    for shift in 0..8 {
        let mut curve = curve("stalls");
        let from = 120.0 + 3.0 * f64::from(shift);
        curve.stall = Some(Stall { from, to: from + 30.0 });
        sweep.play(&curve, WARM, curve.seconds);
    }
    sweep.must(0.98, 0.97, 0.005);
}

/// Every probe costs a refusal and the second that it asks to wait. A provider whose burst is below that second's
/// allowance does not make up for it: the smaller its burst, the less of its limit is used. A configured limit avoids
/// that.
#[test]
fn limits_of_any_burst_are_learnt() {
    for (burst, mean, least) in [(0.1, 0.73, 0.58), (0.3, 0.8, 0.58), (1.0, 0.95, 0.84), (2.0, 0.98, 0.97)] {
        let mut sweep = Sweep::new("bursts");
        for limit in [3.0_f64, 8.0, 30.0, 100.0] {
            let mut curve = plain(limit, 400.0);
            curve.burst = (limit * burst).max(1.0);
            sweep.play(&curve, WARM, 400.0);
        }
        sweep.must(mean, least, 0.0105);
    }
}

#[test]
fn a_limit_that_drops_a_little_is_followed() {
    let mut sweep = Sweep::new("a little less");
    for limit in [3.0, 8.0, 30.0] {
        for less in [0.97, 0.94, 0.91] {
            let mut curve = plain(limit, 900.0);
            curve.requests_per_second = steps([(0.0, limit), (300.0, limit * less)]);
            sweep.play(&curve, 300.0, 900.0);
        }
    }
    sweep.must(0.97, 0.95, 0.01);
}

#[test]
fn a_limit_that_drops_for_a_minute_at_the_start_is_soon_used_again() {
    let mut sweep = Sweep::new("a drop at the start");
    for (from, to) in [(20.0, 80.0), (30.0, 90.0), (25.0, 75.0), (20.0, 100.0), (40.0, 100.0)] {
        for low in [10.0, 15.0] {
            let mut curve = plain(30.0, 150.0);
            curve.requests_per_second = steps([(0.0, 30.0), (from, low), (to, 30.0)]);
            sweep.play(&curve, 0.0, 150.0);
        }
    }
    sweep.must(0.9, 0.84, 0.008);
}
