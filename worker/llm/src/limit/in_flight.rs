//! Bound on the calls in flight: as many as the pace needs at the provider's baseline latency, and some more.
//!
//! An overloaded provider gets slower instead of refusing; a stalled one does not answer. In both cases calls reach
//! this bound and the pace falls. (Little's law: calls in flight = calls a second × latency.)

use super::Seconds;

/// Share of the calls needed that may be in flight on top.
const HEADROOM: f64 = 0.3;

/// Fewest calls over which latency is averaged; a window lasts at least as long as a call.
const WINDOW: u32 = 32;

/// Initial time in latencies in which congestion is not detected: the fastest calls end first.
const EARLY: f64 = 4.0;

/// Multiple of the baseline latency from which calls are slow.
const SLOW: f64 = 1.4;

/// Share by which the baseline moves to a higher latency with each window.
const DRIFT: f64 = 0.1;

/// Multiple of the baseline latency without an answer that is a stall.
const STALL: f64 = 3.0;

/// Time without an answer after which no more calls start: in seconds, and in mean intervals of answers.
const SILENCE: Seconds = 1.0;
const SILENT_INTERVALS: f64 = 16.0;

/// Share of the calls needed in flight, below which silence is not a stall.
const FULL: f64 = 0.7;

/// Multiple of the answered rate that may start during congestion.
const PUSH: f64 = 1.1;

/// Lowest bound.
const LEAST: f64 = 4.0;

/// Bound on the calls in flight.
#[derive(Debug, Clone, Default)]
pub struct InFlight {
    known: Option<f64>,
    baseline_rtt: Option<Seconds>,
    all: (Seconds, u32),
    sum: Seconds,
    count: u32,
    came: u32,
    window_at: Seconds,
    windows: u32,
    began: Option<Seconds>,
    early: bool,
    first: Option<Seconds>,
    last_at: Seconds,
    hit: bool,
    /// Answered calls a second.
    delivered: f64,
    /// Highest `delivered` since the congestion began.
    best: f64,
    congested: bool,
}

impl InFlight {
    /// `known`: the provider's limit, if it is known.
    pub fn new(known: Option<f64>) -> Self {
        Self { known, early: true, ..Self::default() }
    }

    /// Sets the limit that the user configured.
    pub fn allow(&mut self, known: f64) {
        self.known = Some(known);
    }

    /// Notes that a call had to wait for this bound.
    pub fn hit(&mut self) {
        self.hit = true;
    }

    /// Notes an answer; `latency` is that of the call alone. Returns whether the provider is congested: calls take
    /// much longer than the baseline, and as many as before are answered. The latency of a call that is not `fresh`
    /// is ignored, because it belongs to an earlier pace.
    pub fn answered(&mut self, now: Seconds, latency: Seconds, fresh: bool) -> bool {
        let silent = now - self.last_at;
        self.last_at = now;
        if self.baseline_rtt.is_some_and(|baseline| silent > STALL * baseline) {
            // The stall has ended: the latency of calls that waited meanwhile is not representative.
            (self.sum, self.count, self.came, self.window_at) = (0.0, 0, 0, now);
        }
        if now - latency < self.window_at - STALL * self.baseline_rtt.unwrap_or(latency) {
            return false;
        }
        self.came += 1;
        if !fresh {
            return false;
        }
        self.sum += latency;
        self.count += 1;
        let began = *self.began.get_or_insert(now - latency);
        if self.early {
            self.all = (self.all.0 + latency, self.all.1 + 1);
            self.baseline_rtt = Some(self.all.0 / f64::from(self.all.1));
        }
        let baseline = self.baseline_rtt.unwrap_or(latency);
        let since = now - self.window_at;
        if self.count < WINDOW || since < baseline {
            return false;
        }
        let mean = self.sum / f64::from(self.count);
        let (delivered, hit) = (f64::from(self.came) / since.max(1e-3), self.hit);
        (self.sum, self.count, self.came) = (0.0, 0, 0);
        (self.window_at, self.hit) = (now, false);
        self.windows += 1;
        self.delivered = delivered;
        if self.early {
            let first = *self.first.get_or_insert(mean);
            self.early = now - began < EARLY * first;
            return false;
        }
        self.judge(mean, baseline, hit)
    }

    fn judge(&mut self, mean: Seconds, baseline: Seconds, hit: bool) -> bool {
        if mean > SLOW * baseline {
            self.best = self.best.max(self.delivered);
            // The throughput of a queue does not depend on its length. If fewer calls are answered since fewer are in
            // flight, there is no queue: calls take longer now.
            self.congested = self.delivered >= 0.8 * self.best;
            if !self.congested {
                (self.baseline_rtt, self.best) = (Some(mean), 0.0);
            }
            return self.congested;
        }
        self.best = 0.0;
        self.congested &= mean > 1.15 * baseline;
        let step = match mean - baseline {
            less if less < 0.0 => less * 0.3,
            // A higher latency becomes the baseline only if this bound did not cause it.
            _ if hit => 0.0,
            more => more.min(baseline) * DRIFT,
        };
        self.baseline_rtt = Some(baseline + step);
        false
    }

    /// Whether there was no answer for so long that the provider has stalled and further calls would only queue.
    /// `under_way` calls are in flight, at least one since `busy_since`.
    pub fn is_silent(&self, now: Seconds, under_way: f64, busy_since: Seconds) -> bool {
        let Some(baseline) = self.baseline_rtt.filter(|_| self.windows > 0) else { return false };
        let since = self.last_at.max(busy_since + 2.0 * baseline);
        under_way >= FULL * self.delivered * baseline
            && now - since > SILENCE.max(SILENT_INTERVALS / self.delivered.max(1e-6))
    }

    /// The bound at a pace of `rate`.
    pub fn bound(&self, rate: f64) -> f64 {
        // Two seconds until a latency is known.
        let baseline = self.baseline_rtt.unwrap_or(2.0).max(0.01);
        let rate = if self.congested { rate.min(self.delivered * PUSH) } else { rate };
        let under_way = rate * baseline;
        let bound = under_way * (1.0 + HEADROOM) + 2.0 * under_way.sqrt() + LEAST;
        self.known.map_or(bound, |known| bound.min(known))
    }

    /// Whether the answered rate keeps up with a pace of `rate`.
    pub fn follows(&self, rate: f64) -> bool {
        self.windows == 0 || rate < 4.0 * (self.delivered + 1.0)
    }

    /// Answered calls a second.
    pub const fn delivered(&self) -> f64 {
        self.delivered
    }

    /// Whether the provider is congested.
    pub const fn is_congested(&self) -> bool {
        self.congested
    }

    /// The baseline latency, once it is known.
    pub const fn baseline_rtt(&self) -> Option<Seconds> {
        self.baseline_rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_latency_does_not_raise_the_bound() {
        let mut bound = InFlight::new(None);
        let mut now = 0.0;
        let mut answer = |bound: &mut InFlight, latency: f64| {
            now += 1.0 / 30.0;
            bound.answered(now, latency, true)
        };
        for _ in 0..320 {
            answer(&mut bound, 2.0);
        }
        let before = bound.bound(30.0);
        assert!(before > 60.0 && before < 125.0, "{before}");
        let mut congestion_signals = 0;
        for _ in 0..320 {
            bound.hit();
            congestion_signals += u32::from(answer(&mut bound, 6.0));
        }
        assert!(bound.is_congested());
        assert_eq!(congestion_signals, 5, "once a window of two seconds");
        assert!(bound.bound(300.0) < 1.4 * before, "{}", bound.bound(300.0));
        assert!(InFlight::new(Some(8.0)).bound(1000.0) <= 8.0, "a known limit is kept");
    }

    #[test]
    fn silence_is_a_stall_only_if_answers_are_due() {
        let mut bound = InFlight::new(None);
        for call in 0..300 {
            bound.answered(f64::from(call) / 30.0, 2.0, true);
        }
        let last = 299.0 / 30.0;
        assert!(!bound.is_silent(last + 0.9, 60.0, 0.0));
        assert!(bound.is_silent(last + 1.1, 60.0, 0.0));
        assert!(!bound.is_silent(last + 1.1, 10.0, 0.0), "few are in flight");
        assert!(!bound.is_silent(last + 100.0, 60.0, last + 98.0), "they have just started");
        assert!(!InFlight::new(None).is_silent(100.0, 60.0, 0.0), "no latency is known");
    }

    #[test]
    fn a_higher_latency_that_fewer_calls_do_not_lower_becomes_the_baseline() {
        let mut bound = InFlight::new(None);
        let mut now = 0.0;
        for second in 0..60 {
            let (latency, rate) = if second < 30 { (2.0, 30) } else { (6.0, 30 - (second - 30).min(20)) };
            for _ in 0..rate {
                now += 1.0 / f64::from(rate);
                bound.answered(now, latency, true);
            }
        }
        assert!(bound.baseline_rtt().unwrap() > 5.0, "{bound:?}");
        assert!(!bound.is_congested());
    }
}
