//! The limiter against limits by the second, in simulated time.

use domain::budget::{BudgetLimits, Limit};
use llm::limit::Controller;

use crate::curves::plain;
use crate::load::{Curve, play};

/// A limit of so many calls a second with a burst of so many seconds; at least a call passes at once.
fn limited(limit: f64, burst_seconds: f64) -> Curve {
    Curve { burst: (limit * burst_seconds).max(1.0), ..plain(limit, 360.0) }
}

fn by_second(limit: u64) -> BudgetLimits {
    BudgetLimits { requests_per_second: Limit::at(limit), ..BudgetLimits::default() }
}

#[test]
fn a_known_limit_by_the_second_is_used_and_never_exceeded() {
    for limit in [1, 5, 30, 100] {
        // One second's calls; and a bucket of a single call, the strictest form of such a limit, at paces at which calls are
        // not held up by the bound on calls in flight: a call that waited for it starts a little early after the next.
        for burst_seconds in if limit > 30 { vec![1.0] } else { vec![0.0, 1.0] } {
            let curve = limited(limit as f64, burst_seconds);
            let seen = play(&curve, &mut Controller::new(&by_second(limit), 0.0), 3);
            let share = seen.share(&curve, 0.0, curve.seconds);
            assert_eq!(seen.refused_at.len(), 0, "{limit} a second");
            assert!(share >= 0.98, "{limit} a second: {share}");
        }
    }
}

#[test]
fn no_second_has_more_calls_than_a_limit_by_the_second() {
    let curve = limited(30.0, 10.0);
    let seen = play(&curve, &mut Controller::new(&by_second(30), 0.0), 3);
    for (first, at) in seen.accepted_at.iter().enumerate() {
        let within = seen.accepted_at[first..].iter().take_while(|other| **other < at + 1.0).count();
        assert!(within <= 30, "{within} calls in the second from {at}");
    }
}

#[test]
fn of_two_known_limits_the_lower_counts() {
    let both = |minute, second| BudgetLimits { requests_per_minute: Limit::at(minute), ..by_second(second) };
    for (limits, pace) in [(both(600, 30), 10.0), (both(6000, 30), 30.0)] {
        let controller = Controller::new(&limits, 0.0);
        assert!((controller.pace() - pace).abs() < 1e-9, "{limits:?}: {}", controller.pace());
    }
}

/// The shares include the time in which the limit is learnt.
#[test]
fn hidden_limits_with_short_bursts_are_mostly_used() {
    for burst_seconds in [0.1, 0.3, 1.0] {
        let mut shares = Vec::new();
        for limit in [3.0, 10.0, 30.0, 100.0] {
            let curve = limited(limit, burst_seconds);
            for seed in 0..3 {
                let seen = play(&curve, &mut Controller::new(&BudgetLimits::default(), 0.0), seed);
                let refused = seen.refused();
                assert!(
                    refused <= 0.01,
                    "{limit} a second, {burst_seconds} s: {:.2} % refused",
                    100.0 * refused
                );
                shares.push(seen.share(&curve, 0.0, curve.seconds));
            }
        }
        let share = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!(share >= 0.9, "bursts of {burst_seconds} s: {share:.3} of {shares:.3?}");
    }
}
