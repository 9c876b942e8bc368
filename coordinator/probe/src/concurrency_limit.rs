//! Detects a limit on calls in flight.
//!
//! Such a limit refuses exactly the calls that are sent while so many others are in flight. A rate limit refuses and passes
//! calls at any number in flight.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Seconds;
use super::call::Call;

/// Share of calls that may contradict the limit, because the time at which a call ended at the provider is not known
/// exactly.
const WRONG: f64 = 0.1;

/// Fewest refusals for a decision.
const LEAST: usize = 8;

/// A limit on calls in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// Best estimate of the limit.
    pub limit: usize,
    /// Least limit that fits the log.
    pub low: usize,
    /// Greatest limit that fits the log.
    pub high: usize,
}

/// A call and the number of others in flight when it was sent.
#[derive(Debug, Clone, Copy)]
struct Found {
    sent: Seconds,
    /// Other calls in flight.
    others: usize,
    refused: bool,
}

/// The calls that were sent from `from` on, in order, with the number of others in flight.
fn found(calls: &[Call], from: Seconds) -> Vec<Found> {
    let mut under_way: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut found = Vec::new();
    for call in calls {
        while under_way.peek().is_some_and(|Reverse(done)| f64::from_bits(*done) <= call.sent) {
            under_way.pop();
        }
        let refused = call.is_throttled();
        if call.sent >= from {
            found.push(Found { sent: call.sent, others: under_way.len(), refused });
        }
        if !refused {
            // A pending call has passed, because refusals come at once. Non-negative floats sort by their bits.
            under_way.push(Reverse(call.done().to_bits()));
        }
    }
    found
}

/// Median number of calls in flight at the refusals between two times.
pub fn refused_at(calls: &[Call], from: Seconds, to: Seconds) -> Option<usize> {
    let refused = found(calls, from).into_iter().filter(|found| found.refused && found.sent < to);
    let mut numbers: Vec<usize> = refused.map(|found| found.others).collect();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied()
}

/// Share of the calls that passed between two times with at least `limit` others in flight.
pub fn passed_beyond(calls: &[Call], from: Seconds, to: Seconds, limit: usize) -> f64 {
    let slack = slack(calls, from, to).min(limit / 8);
    let passed = found(calls, from).into_iter().filter(|found| !found.refused && found.sent < to);
    let (beyond, all) = passed.fold((0.0, 0.0_f64), |(beyond, all), found| {
        (beyond + f64::from(u8::from(found.others >= limit + slack)), all + 1.0)
    });
    beyond / all.max(1.0)
}

/// Number of calls that have ended at the provider while their answers are in transit, and so still seem to be in flight.
fn slack(calls: &[Call], from: Seconds, to: Seconds) -> usize {
    let last = calls
        .iter()
        .filter(|call| call.is_throttled() && call.sent < to)
        .map(|call| call.sent)
        .fold(from, f64::max);
    let since = || calls.iter().filter(|call| call.sent >= from && call.sent <= last);
    let mut trips: Vec<Seconds> = since().filter(|call| call.is_throttled()).map(|call| call.took).collect();
    trips.sort_by(f64::total_cmp);
    let trip = trips.get(trips.len() / 2).copied().unwrap_or(0.0);
    let passed = since().filter(|call| !call.is_throttled()).count() as f64;
    let time = last - from;
    let on_the_way = (passed / time.max(1e-9) * trip - 0.1).ceil().clamp(0.0, 1e6);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let slack = on_the_way as usize;
    slack
}

/// The limit on calls in flight that explains the refusals from `from` on; `None` where none does.
pub fn concurrency_limit(calls: &[Call], from: Seconds) -> Option<ConcurrencyLimit> {
    let found = found(calls, from);
    // All calls before the first refusal passed, whatever is limited.
    let first = found.iter().position(|one| one.refused)?;
    let (before, found) = found.split_at(first);
    let room = before.iter().map(|one| one.others + 1).max().unwrap_or(1);
    let of = |refused: bool| found.iter().filter(move |one| one.refused == refused).map(|one| one.others);
    let refused = of(true).count();
    if refused < LEAST {
        return None;
    }
    let judged = refused.max(of(false).count()) as f64;
    let slack = slack(calls, from, f64::INFINITY);
    let wrong = |limit: usize| {
        let slack = slack.min(limit / 8);
        let refused_below = of(true).filter(|number| *number < limit).count() as f64 / refused as f64;
        let passed_above = of(false).filter(|number| *number >= limit + slack).count() as f64 / judged;
        (refused_below, passed_above)
    };
    let most = of(true).chain(of(false)).max()?;
    let fitting: Vec<(usize, f64)> = (room.saturating_sub(slack.min(room / 8)).max(1)..=most)
        .filter_map(|limit| {
            let (below, above) = wrong(limit);
            (below <= WRONG && above <= WRONG).then_some((limit, below + above))
        })
        .collect();
    // Of several that fit equally well, the greatest.
    let (limit, _) = fitting.iter().copied().rev().min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(ConcurrencyLimit { limit, low: fitting.first()?.0, high: fitting.last()?.0 })
}

/// Most calls in flight at a time.
pub fn most_in_flight(calls: &[Call]) -> usize {
    let passed = found(calls, f64::NEG_INFINITY).into_iter().filter(|found| !found.refused);
    passed.map(|found| found.others + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use llm::limit::Scarce;

    use super::super::call::Ended;
    use super::super::call::testing::call;
    use super::*;

    const REFUSED: Ended = Ended::Throttled(Scarce::Requests);

    /// Calls at `pace` a second to a provider that allows `limit` in flight and takes `latency(number)`.
    fn in_flight(limit: usize, pace: f64, seconds: f64, latency: impl Fn(usize) -> f64) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let mut now = 0.0;
        while now < seconds {
            let under_way = calls.iter().filter(|one| !one.is_throttled() && one.done() > now).count();
            let passed = under_way < limit;
            let took = if passed { latency(calls.len()) } else { 0.01 };
            calls.push(call(now, took, if passed { Ended::Answered } else { REFUSED }));
            now += 1.0 / pace;
        }
        calls
    }

    #[test]
    fn a_limit_on_calls_in_flight_is_found() {
        for (limit, pace) in [(4, 3.0), (32, 20.0), (100, 60.0)] {
            let calls = in_flight(limit, pace, 60.0, |number| 2.0 + (number * 7 % 11) as f64 / 5.0);
            assert_eq!(concurrency_limit(&calls, 0.0).map(|found| found.limit), Some(limit));
        }
    }

    #[test]
    fn a_rate_limit_is_not_taken_for_a_limit_on_calls_in_flight() {
        // 8 a second pass, evenly; 20 a second are tried; latency varies.
        let calls: Vec<Call> = (0..1200)
            .map(|number| {
                let (sent, took) = (f64::from(number) / 20.0, 2.0 + f64::from(number * 7 % 11) / 5.0);
                let passed = number % 5 < 2;
                call(sent, if passed { took } else { 0.01 }, if passed { Ended::Answered } else { REFUSED })
            })
            .collect();
        assert_eq!(concurrency_limit(&calls, 10.0), None);
        assert!(most_in_flight(&calls) > 20);
    }

    #[test]
    fn few_refusals_give_no_limit() {
        let calls = in_flight(4, 3.0, 3.0, |_| 2.0);
        assert_eq!(concurrency_limit(&calls, 0.0), None);
        assert_eq!(most_in_flight(&[]), 0);
    }
}
