//! Statistics of the simulated provider.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::ids::AnswerKey;
use serde::Serialize;

use crate::batches::BatchReport;
use crate::limits::Allowed;

/// How many of the last seconds are kept one by one.
const SECONDS: usize = 900;

/// Counts while the provider runs; times are in its own seconds.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: u64,
    refused: u64,
    unauthorised: u64,
    bad_requests: u64,
    unknown: u64,
    faults: BTreeMap<&'static str, u64>,
    prompts: BTreeSet<AnswerKey>,
    in_flight: u64,
    most_in_flight: u64,
    first_at: Option<f64>,
    last_at: f64,
    tokens: f64,
    /// Calls and tokens that the limits allowed until `counted_to`.
    allowed: (f64, f64),
    counted_to: f64,
    seconds: VecDeque<Second>,
}

/// Counts of one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// Number of the second since the start, in the provider's time.
    pub second: u64,
    /// Calls that passed the limits.
    pub accepted: u64,
    /// Calls that were refused by the limits.
    pub refused: u64,
    /// Share of the limit that was used: of calls or of tokens, the higher one.
    pub utilisation: Option<f64>,
    #[serde(skip)]
    tokens: f64,
    #[serde(skip)]
    allowed: (f64, f64),
}

/// The statistics as `/stats` returns them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Calls that passed the limits.
    pub accepted: u64,
    /// Calls that were refused by the limits.
    pub refused_429: u64,
    /// Calls that were refused for a wrong key.
    pub refused_401: u64,
    /// Calls that were refused for what they ask: a parameter, or a model.
    pub refused_400: u64,
    /// Accepted calls with an unknown prompt.
    pub unknown: u64,
    /// Injected faults by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Distinct prompts.
    pub distinct_prompts: u64,
    /// Time of the first call, in the provider's seconds since its start.
    pub first_at: Option<f64>,
    /// Time of the last call.
    pub last_at: Option<f64>,
    /// Present calls in flight.
    pub in_flight: u64,
    /// Most calls that were in flight.
    pub max_in_flight: u64,
    /// Tokens of answered calls, prompts included.
    pub tokens: u64,
    /// Share of the limit that was used between the first and the last call: of calls or of tokens, the higher one.
    pub utilisation: Option<f64>,
    /// What was asked for and paid by batches.
    pub batches: BatchReport,
    /// Counts of the last 900 seconds with a call.
    pub by_second: Vec<Second>,
}

/// The share used of what was allowed: of calls or of tokens, the higher one.
fn higher(used: (f64, f64), allowed: (f64, f64)) -> Option<f64> {
    let share = |used: f64, allowed: f64| (allowed > 0.0).then(|| used / allowed);
    [share(used.0, allowed.0), share(used.1, allowed.1)].into_iter().flatten().reduce(f64::max)
}

impl Stats {
    fn allow(&mut self, now: f64, allowed: &Allowed) {
        if self.first_at.is_some() && now > self.counted_to {
            let minutes = (now - self.counted_to) / 60.0;
            self.allowed.0 += allowed.calls_a_minute().unwrap_or(0.0) * minutes;
            self.allowed.1 += allowed.tpm.unwrap_or(0.0) * minutes;
        }
        self.counted_to = self.counted_to.max(now);
    }

    /// Counts a call, before it is known whether it passes.
    pub fn arrived(&mut self, now: f64, prompt: AnswerKey, allowed: &Allowed) {
        self.allow(now, allowed);
        self.first_at.get_or_insert(now);
        self.last_at = now;
        self.prompts.insert(prompt);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time since the beginning"
        )]
        let second = now as u64;
        if self.seconds.back().is_none_or(|last| last.second < second) {
            if self.seconds.len() == SECONDS {
                self.seconds.pop_front();
            }
            let allowed = (allowed.calls_a_minute().unwrap_or(0.0) / 60.0, allowed.tpm.unwrap_or(0.0) / 60.0);
            self.seconds.push_back(Second {
                second,
                accepted: 0,
                refused: 0,
                utilisation: None,
                tokens: 0.0,
                allowed,
            });
        }
    }

    /// Accounts for the old limits before they change.
    pub fn limits_change(&mut self, now: f64, allowed: &Allowed) {
        self.allow(now, allowed);
    }

    /// Counts an accepted call, and its tokens.
    pub fn accepted(&mut self, tokens: f64) {
        self.accepted += 1;
        self.tokens += tokens;
        if let Some(second) = self.seconds.back_mut() {
            second.accepted += 1;
            second.tokens += tokens;
        }
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
    }

    /// Counts a call refused by the limits.
    pub fn refused(&mut self) {
        self.refused += 1;
        if let Some(second) = self.seconds.back_mut() {
            second.refused += 1;
        }
    }

    /// Counts a call without the right key.
    pub fn unauthorised(&mut self) {
        self.unauthorised += 1;
    }

    /// Counts a call that asks for what there is not.
    pub fn refused_request(&mut self) {
        self.bad_requests += 1;
    }

    /// Counts an accepted call with an unknown prompt.
    pub fn unknown(&mut self) {
        self.unknown += 1;
    }

    /// Counts an injected fault.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// Counts the end of an accepted call.
    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Present calls in flight.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The statistics until now.
    pub fn report(&self) -> Report {
        let shown = |second: &Second| {
            let used = (second.accepted as f64, second.tokens);
            Second { utilisation: higher(used, second.allowed), ..*second }
        };
        Report {
            accepted: self.accepted,
            refused_429: self.refused,
            refused_401: self.unauthorised,
            refused_400: self.bad_requests,
            unknown: self.unknown,
            faults: self.faults.clone(),
            distinct_prompts: self.prompts.len() as u64,
            first_at: self.first_at,
            last_at: self.first_at.map(|_| self.last_at),
            in_flight: self.in_flight,
            max_in_flight: self.most_in_flight,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count, summed as a float"
            )]
            tokens: self.tokens as u64,
            utilisation: higher((self.accepted as f64, self.tokens), self.allowed),
            batches: BatchReport::default(),
            by_second: self.seconds.iter().map(shown).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilisation_is_over_the_time_between_the_first_and_the_last_call() {
        let mut stats = Stats::default();
        let allowed = Allowed { rpm: Some(60.0), ..Allowed::default() };
        for second in 100..161 {
            stats.arrived(f64::from(second), AnswerKey::of(b"q"), &allowed);
            stats.accepted(10.0);
            stats.ended();
        }
        let report = stats.report();
        assert_eq!((report.accepted, report.distinct_prompts, report.max_in_flight), (61, 1, 1));
        assert!((report.utilisation.unwrap() - 61.0 / 60.0).abs() < 1e-9);
        assert_eq!(report.by_second.len(), 61);
        assert_eq!(report.by_second[7].second, 107);
        assert!((report.by_second[7].utilisation.unwrap() - 1.0).abs() < 1e-9);
        stats.limits_change(161.0, &allowed);
        stats.arrived(221.0, AnswerKey::of(b"q"), &Allowed { rpm: Some(600.0), ..allowed });
        assert!((stats.report().utilisation.unwrap() - 61.0 / 661.0).abs() < 1e-9);
    }

    #[test]
    fn only_the_last_seconds_are_kept() {
        let mut stats = Stats::default();
        for second in 0..2000 {
            stats.arrived(f64::from(second), AnswerKey::of(b"q"), &Allowed::default());
            stats.refused();
        }
        let seconds = stats.report().by_second;
        assert_eq!((seconds.len(), seconds[0].second, seconds[0].refused), (SECONDS, 1100, 1));
        assert_eq!(seconds[0].utilisation, None);
    }
}
