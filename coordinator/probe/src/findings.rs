//! Evaluates the log of a probe: limits and their confidence intervals.

use llm::limit::Scarce;

use super::Seconds;
use super::call::{Call, Ended};
use super::concurrency_limit::{
    ConcurrencyLimit, concurrency_limit, most_in_flight, passed_beyond, refused_at,
};
use super::drive::{Pace, Step, Stop};
use super::rate_limit::{Estimate, Try, rate, rate_by_window};

/// Fewest calls between refusals, in total, for an estimate.
const LEAST: f64 = 10.0;

/// Share of calls that may have passed above a limit on calls in flight.
const BEYOND: f64 = 0.2;

/// The time that limits are for.
const MINUTE: Seconds = 60.0;

/// Time within which passed calls may be a burst.
const BURST: Seconds = 10.0;

/// Purpose of the steps of the bisection.
pub const BETWEEN_STEP: &str = "between";

/// Share of calls that pass at an allowed rate; a few may be refused for other causes.
pub const PASSES: f64 = 0.95;

/// The log of a probe.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// Calls in the order of sending.
    pub calls: &'a [Call],
    /// Its steps.
    pub steps: &'a [Step],
    /// Times at which the probe paused.
    pub breaks: &'a [Seconds],
    /// Times at which windows of the provider opened.
    pub opened: &'a [Seconds],
    /// Later calls are ignored, because a refusal may be in transit.
    pub until: Seconds,
}

impl Log<'_> {
    /// Which limit caused the last refusal.
    pub fn scarce(&self) -> Option<Scarce> {
        self.calls.iter().rev().find_map(|call| match call.ended {
            Ended::Throttled(scarce) => Some(scarce),
            _ => None,
        })
    }

    /// Usual size of a call in units: 1, or its tokens.
    pub fn usual_size(&self, scarce: Scarce) -> f64 {
        if scarce == Scarce::Requests {
            return 1.0;
        }
        let last = self.calls.last().map_or(0, |call| call.step);
        let of = |step: Option<usize>| {
            let known = self
                .calls
                .iter()
                .filter(|call| call.is_answered() && step.is_none_or(|step| call.step == step));
            let (sum, count) =
                known.fold((0.0, 0.0), |(sum, count), call| (sum + call.usage.total as f64, count + 1.0));
            (count > 0.0 && sum > 0.0).then(|| sum / count)
        };
        of(Some(last)).or_else(|| of(None)).unwrap_or(1.0)
    }

    fn tries(&self, scarce: Scarce) -> Vec<Try> {
        let size = self.usual_size(scarce);
        let units = |call: &Call| match (scarce, call.is_answered()) {
            (Scarce::Requests, _) => 1.0,
            (Scarce::Tokens, true) => call.usage.total as f64,
            (Scarce::Tokens, false) => size,
        };
        let known = self.calls.iter().filter(|call| call.sent <= self.until);
        known
            .filter_map(|call| match call.ended {
                Ended::Throttled(short) if short == scarce => Some(Try { sent: call.sent, passed: None }),
                Ended::Throttled(_) => None,
                _ => Some(Try { sent: call.sent, passed: Some(units(call)) }),
            })
            .collect()
    }

    /// Share of a step's calls that were not refused.
    pub fn passed_of_step(&self, step: usize) -> f64 {
        let mine = self.calls.iter().filter(|call| call.step == step);
        let (passed, all) = mine
            .fold((0_u32, 0_u32), |(passed, all), call| (passed + u32::from(!call.is_throttled()), all + 1));
        f64::from(passed) / f64::from(all.max(1))
    }

    /// The limit on calls by the bisection, between the rates that passed and those that did not.
    fn between(&self) -> Option<Estimate> {
        let mut steps =
            self.steps.iter().enumerate().filter(|(_, step)| step.purpose == BETWEEN_STEP).peekable();
        steps.peek()?;
        let (mut low, mut high, mut units, mut seconds) = (0.0_f64, f64::INFINITY, 0.0, 0.0);
        for (number, step) in steps {
            let Pace::Rate(pace) = step.pace else { continue };
            if self.passed_of_step(number) >= PASSES {
                low = low.max(pace);
            } else {
                high = high.min(pace);
            }
            units +=
                self.calls.iter().filter(|call| call.step == number && !call.is_throttled()).count() as f64;
            seconds += step.ended - step.began;
        }
        // The rate below the first of them had passed, the one above had not.
        let (low, high) = match (low > 0.0, high.is_finite()) {
            (true, true) => (low.min(high), high),
            (true, false) => (low, low * 1.05),
            (false, _) => (high / 1.05, high),
        };
        let per_minute = f64::midpoint(low, high) * 60.0;
        Some(Estimate { per_minute, low: low * 60.0, high: high * 60.0, units, seconds, window: None })
    }

    /// The limit that calls reached; evaluated by windows of time where nothing passes between refusals.
    pub fn limit(&self, scarce: Scarce) -> Option<Estimate> {
        if scarce == Scarce::Requests
            && let Some(found) = self.between()
        {
            return Some(found);
        }
        if !self.calls.iter().any(|call| call.is_short_of(scarce)) {
            return None;
        }
        let (tries, size) = (self.tries(scarce), self.usual_size(scarce));
        let wait = self.usual_wait(scarce);
        let bucket = rate(&tries, self.breaks, size).filter(|found| {
            // A wait much longer than the interval of two calls is a wait for a window to open.
            let next = 60.0 * size / found.per_minute;
            found.units >= LEAST * size && wait.is_none_or(|wait| wait <= 3.0 * next + 2.0)
        });
        bucket.or_else(|| rate_by_window(&tries, self.opened))
    }

    /// Median `Retry-After` of refused calls.
    fn usual_wait(&self, scarce: Scarce) -> Option<Seconds> {
        let mine = self.calls.iter().filter(|call| call.is_short_of(scarce));
        let mut waits: Vec<Seconds> = mine.filter_map(|call| call.retry_after).collect();
        waits.sort_by(f64::total_cmp);
        waits.get(waits.len() / 2).copied()
    }

    /// When the first call was refused by a limit on calls.
    fn first_refusal(&self) -> Option<Seconds> {
        self.calls.iter().find(|call| call.is_short_of(Scarce::Requests)).map(|call| call.sent)
    }

    /// Whether a limit on calls in flight causes the refusals.
    pub fn is_concurrency_limited(&self) -> bool {
        self.in_flight_limit().is_some()
    }

    /// The limit on calls in flight, where it explains the refusals in the step that began without calls in flight, and calls
    /// were refused at that number before, too.
    fn in_flight_limit(&self) -> Option<ConcurrencyLimit> {
        let first = self.first_refusal()?;
        let Some(step) = self.steps.iter().find(|step| step.purpose == "from standstill") else {
            return concurrency_limit(self.calls, first);
        };
        let found = concurrency_limit(self.calls, step.began)?;
        let usual = refused_at(self.calls, first, step.began)?;
        // Calls that passed above it before contradict it.
        let fits = passed_beyond(self.calls, first, step.began, found.limit) <= BEYOND;
        // Small numbers must match exactly.
        (fits && usual.abs_diff(found.limit) <= found.limit / 10).then_some(found)
    }

    /// Latencies of answers in steps of this purpose.
    fn latencies(&self, purpose: &str) -> impl Iterator<Item = Seconds> {
        let of = move |step: usize| self.steps.get(step).is_some_and(|step| step.purpose == purpose);
        self.calls.iter().filter(move |call| call.is_answered() && of(call.step)).map(|call| call.took)
    }

    /// Median latency of answers in steps of this purpose.
    pub fn median_latency(&self, purpose: &str) -> Option<Seconds> {
        let mut times: Vec<Seconds> = self.latencies(purpose).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }

    /// Most units that were answered in a whole minute without any refusal; `None`: there was no such minute.
    ///
    /// What passed in less time may be a burst: the limits are those of a minute.
    fn most_in_a_clear_minute(&self, scarce: Scarce) -> Option<f64> {
        let answered = || self.calls.iter().filter(|call| call.is_answered());
        let begin = self.calls.first()?.sent;
        let end = answered().map(Call::done).fold(begin, f64::max);
        let refusals = self.calls.iter().filter(|call| call.is_throttled()).map(|call| call.sent);
        let marks: Vec<Seconds> = std::iter::once(begin).chain(refusals).chain([end]).collect();
        let units = |call: &Call| match scarce {
            Scarce::Requests => 1.0,
            Scarce::Tokens => call.usage.total as f64,
        };
        let clear = marks.windows(2).filter_map(|pair| match pair {
            [from, to] if to - from >= MINUTE => Some((*from, *to)),
            _ => None,
        });
        let most_of = |(from, to): (Seconds, Seconds)| {
            let own: Vec<&Call> = answered().filter(|call| call.sent >= from && call.sent < to).collect();
            // A minute from each call on, and the last one.
            let starts = own.iter().map(|call| call.sent).filter(|at| at + MINUTE <= to).chain([to - MINUTE]);
            let units_from = |at: Seconds| {
                let first = own.partition_point(|call| call.sent < at);
                let minute = own.iter().skip(first).take_while(|call| call.sent < at + MINUTE);
                minute.map(|call| units(call)).sum::<f64>()
            };
            starts.map(units_from).fold(0.0, f64::max)
        };
        clear.map(most_of).filter(|units| *units > 0.0).reduce(f64::max)
    }

    /// What is known of a limit that was not measured.
    fn unmeasured(&self, scarce: Scarce, in_flight: Option<ConcurrencyLimit>) -> Known {
        if !self.calls.iter().any(Call::is_answered) {
            return Known::Unknown(Unmeasured::NoReply);
        }
        if self.calls.iter().any(|call| call.is_short_of(scarce)) {
            let by_others = scarce == Scarce::Requests && in_flight.is_some();
            return Known::Unknown(if by_others { Unmeasured::OtherLimit } else { Unmeasured::FewRefusals });
        }
        match self.most_in_a_clear_minute(scarce) {
            Some(passed) => Known::AtLeast(passed),
            None if self.calls.iter().any(Call::is_throttled) => Known::Unknown(Unmeasured::OtherLimit),
            None => Known::Unknown(Unmeasured::Short),
        }
    }

    /// Most calls a minute that passed during a step.
    fn most_passed(&self) -> Option<f64> {
        let of = |number: usize, step: &Step| {
            let mine = || self.calls.iter().filter(|call| call.step == number && !call.is_throttled());
            let last = mine().map(|call| call.sent).fold(step.began, f64::max);
            let units = mine().count() as f64;
            // At a rate the interval after the last call counts, too.
            let seconds = match step.pace {
                Pace::Rate(rate) => last - step.began + 1.0 / rate,
                Pace::InFlight(_) => step.ended - step.began,
            };
            // Within a few seconds it may be a burst.
            (units > 0.0).then(|| units / seconds.max(BURST) * 60.0)
        };
        self.steps.iter().enumerate().filter_map(|(number, step)| of(number, step)).reduce(f64::max)
    }

    /// Throughput of a provider that slows down instead of refusing.
    fn slows(&self) -> Option<Slows> {
        let alone = self.median_latency("alone")?;
        let (number, step) =
            self.steps.iter().enumerate().rev().find(|(_, step)| step.purpose == "faster")?;
        let mine = || self.calls.iter().filter(|call| call.step == number && !call.is_throttled());
        let (first, last) = (step.began + alone, mine().map(|call| call.sent).fold(0.0, f64::max));
        let done =
            self.calls.iter().filter(|call| call.is_answered() && call.done() > first && call.done() <= last);
        let done = done.count() as f64;
        let Pace::Rate(pace) = step.pace else { return None };
        let seconds = last - first;
        let slower = seconds > 0.0 && done > 0.0 && mine().count() as f64 > 2.0 * pace * alone + 10.0;
        let a_second = done / seconds.max(1e-9);
        let slows = Slows { per_minute: a_second * 60.0, concurrency: a_second * alone };
        (slower && a_second < 0.8 * pace).then_some(slows)
    }
}

impl Call {
    /// Whether it was refused because of this limit.
    pub fn is_short_of(&self, what: Scarce) -> bool {
        self.ended == Ended::Throttled(what)
    }
}

/// Knowledge of a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// It was reached and measured.
    Found(Estimate),
    /// So much was answered in a whole minute without a refusal, and it was not reached.
    AtLeast(f64),
    /// Not measured.
    Unknown(Unmeasured),
}

/// Why a limit is not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// Nothing passed that could be counted.
    #[error("no call was answered")]
    NoReply,
    /// It was reached, but not often enough.
    #[error("calls were refused because of it, too few for an estimate")]
    FewRefusals,
    /// Calls were refused, and not often enough to tell why.
    #[error("calls were refused, and which limit did that is not known")]
    Refused,
    /// Another limit was reached first.
    #[error("another limit refused calls before it was reached")]
    OtherLimit,
    /// Nothing was refused, within less time than the limit is for.
    #[error("calls were sent for less than a whole minute")]
    Short,
}

/// Knowledge of the limit on calls in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// It was reached and measured.
    Found(ConcurrencyLimit),
    /// So many were in flight without a refusal because of their number.
    AtLeast(usize),
    /// Not measured.
    Unknown(Unmeasured),
}

/// A provider that slows down instead of refusing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slows {
    /// Answers a minute at any load.
    pub per_minute: f64,
    /// Calls in flight above which further ones wait.
    pub concurrency: f64,
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Calls a minute.
    pub requests: Known,
    /// Tokens a minute.
    pub tokens: Known,
    /// Calls in flight.
    pub in_flight: InFlight,
    /// Set where calls accumulate before any is refused.
    pub slows: Option<Slows>,
    /// Greatest limits on calls and tokens that the provider advertised.
    pub advertised: (Option<u64>, Option<u64>),
    /// Most calls a minute that passed during a step, however short: a pace for the next steps, not a limit.
    pub passed: Option<f64>,
}

impl Verdict {
    /// Evaluates a log.
    pub fn of(log: &Log<'_>) -> Self {
        let in_flight_limit = log.in_flight_limit();
        let known = |scarce| {
            let found = log.limit(scarce).filter(|_| scarce == Scarce::Tokens || in_flight_limit.is_none());
            found.map_or_else(|| log.unmeasured(scarce, in_flight_limit), Known::Found)
        };
        let requests = known(Scarce::Requests);
        let refused = log.calls.iter().any(Call::is_throttled);
        Self {
            requests,
            tokens: known(Scarce::Tokens),
            in_flight: match (in_flight_limit, requests) {
                (Some(found), _) => InFlight::Found(found),
                // The refusals may be those of a limit on calls in flight.
                (None, Known::Unknown(Unmeasured::FewRefusals)) => InFlight::Unknown(Unmeasured::Refused),
                (None, Known::Unknown(why @ Unmeasured::NoReply)) => InFlight::Unknown(why),
                (None, _) => InFlight::AtLeast(most_in_flight(log.calls)),
            },
            slows: if refused { None } else { log.slows() },
            advertised: (
                log.calls.iter().filter_map(|call| call.advertised.0).max(),
                log.calls.iter().filter_map(|call| call.advertised.1).max(),
            ),
            passed: log.most_passed(),
        }
    }

    /// Calls a minute that certainly pass.
    pub fn calls_a_minute(&self) -> Option<f64> {
        match (self.slows, self.requests) {
            (Some(slows), _) => Some(slows.per_minute),
            (None, Known::Found(found)) => Some(found.low),
            (None, Known::AtLeast(_) | Known::Unknown(_)) => self.passed,
        }
    }
}

/// Results of a probe, with its log.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Endpoint of the provider.
    pub endpoint: String,
    /// Name of the model.
    pub model: String,
    /// Calls in the order of sending; all have ended.
    pub calls: Vec<Call>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// The limits.
    pub verdict: Verdict,
    /// Why it ended early.
    pub stop: Option<Stop>,
    /// Notes for the report.
    pub notes: Vec<String>,
    /// Duration of the probe.
    pub seconds: Seconds,
    /// Cost in US dollars.
    pub cost: f64,
    /// Calls in flight of the highest step, or the most that occurred.
    pub concurrency: usize,
}
