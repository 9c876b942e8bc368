//! How many calls may be under way: as many as the pace needs at the provider's baseline latency, and some more.
//!
//! A provider that is overloaded gets slower instead of refusing; one that stalls answers nothing at all. In both cases
//! calls pile up here and the pace falls by itself. (Little's law: calls under way = calls a second × latency.)

use super::Seconds;

/// Share of the usual number that may be under way besides.
const ROOM: f64 = 0.3;

/// Fewest calls over which latency is averaged; a window lasts at least as long as a call.
const WINDOW: u32 = 32;

/// For how many calls' time latency is not judged: the calls that come back first are the quickest.
const EARLY: f64 = 4.0;

/// Latency as a multiple of the baseline from which calls are slow.
const SLOW: f64 = 1.4;

/// How fast a higher latency is taken for the baseline, per window.
const DRIFT: f64 = 0.1;

/// Silence as a multiple of the baseline latency that is a stall.
const STALL: f64 = 3.0;

/// Silence from which no more calls start until one comes back: in seconds, and in usual times between two answers.
const SILENCE: Seconds = 1.0;
const SILENT_TIMES: f64 = 16.0;

/// The share of the usual number under way below which silence says nothing.
const FULL: f64 = 0.7;

/// How much more than what comes back may start while calls pile up.
const PUSH: f64 = 1.1;

/// Fewest calls that may be under way.
const LEAST: f64 = 4.0;

/// The bound.
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
    /// Calls a second that come back.
    delivered: f64,
    /// Most of them since calls pile up.
    best: f64,
    congested: bool,
}

impl InFlight {
    /// `known`: what the provider allows, if that is known.
    pub fn new(known: Option<f64>) -> Self {
        Self { known, early: true, ..Self::default() }
    }

    /// The user says that so many are allowed.
    pub fn allow(&mut self, known: f64) {
        self.known = Some(known);
    }

    /// A call had to wait because too many were under way.
    pub fn hit(&mut self) {
        self.hit = true;
    }

    /// A call was answered: `latency` is its own, without any wait before it. Returns whether calls pile up at the
    /// provider: they take much longer than the baseline, and no fewer come back since.
    /// A call that is not `fresh` counts, but its latency belongs to a pace of the past.
    pub fn answered(&mut self, now: Seconds, latency: Seconds, fresh: bool) -> bool {
        let silent = now - self.last_at;
        self.last_at = now;
        if self.baseline_rtt.is_some_and(|baseline| silent > STALL * baseline) {
            // The provider stalled and goes on: what waited meanwhile says nothing of how it is now.
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
            // A queue works off as much whether it is long or short. If less comes back since fewer are under way, it
            // is no queue: calls take longer now.
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
            // A higher latency is the baseline only where it is not our own doing.
            _ if hit => 0.0,
            more => more.min(baseline) * DRIFT,
        };
        self.baseline_rtt = Some(baseline + step);
        false
    }

    /// Whether nothing has come back for so long that the provider has stopped: what is sent now would only pile up.
    /// `under_way` calls are, one at least since `busy_since`.
    pub fn is_silent(&self, now: Seconds, under_way: f64, busy_since: Seconds) -> bool {
        let Some(baseline) = self.baseline_rtt.filter(|_| self.windows > 0) else { return false };
        let since = self.last_at.max(busy_since + 2.0 * baseline);
        under_way >= FULL * self.delivered * baseline
            && now - since > SILENCE.max(SILENT_TIMES / self.delivered.max(1e-6))
    }

    /// How many calls may be under way at a pace of `rate`.
    pub fn bound(&self, rate: f64) -> f64 {
        // Before anything is known of the latency, two seconds' worth.
        let baseline = self.baseline_rtt.unwrap_or(2.0).max(0.01);
        let rate = if self.congested { rate.min(self.delivered * PUSH) } else { rate };
        let under_way = rate * baseline;
        let bound = under_way * (1.0 + ROOM) + 2.0 * under_way.sqrt() + LEAST;
        self.known.map_or(bound, |known| bound.min(known))
    }

    /// Whether what comes back still follows a pace of `rate`.
    pub fn follows(&self, rate: f64) -> bool {
        self.windows == 0 || rate < 4.0 * (self.delivered + 1.0)
    }

    /// Calls a second that come back.
    pub const fn delivered(&self) -> f64 {
        self.delivered
    }

    /// Whether calls pile up at the provider.
    pub const fn is_crowded(&self) -> bool {
        self.congested
    }

    /// The baseline latency, once there is one.
    pub const fn baseline_rtt(&self) -> Option<Seconds> {
        self.baseline_rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_that_grows_does_not_raise_the_bound_with_it() {
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
        assert!(bound.is_crowded());
        assert_eq!(congestion_signals, 5, "once a window of two seconds");
        assert!(bound.bound(300.0) < 1.4 * before, "{}", bound.bound(300.0));
        assert!(InFlight::new(Some(8.0)).bound(1000.0) <= 8.0, "what is known is kept");
    }

    #[test]
    fn silence_counts_only_where_answers_are_due() {
        let mut bound = InFlight::new(None);
        for call in 0..300 {
            bound.answered(f64::from(call) / 30.0, 2.0, true);
        }
        let last = 299.0 / 30.0;
        assert!(!bound.is_silent(last + 0.9, 60.0, 0.0));
        assert!(bound.is_silent(last + 1.1, 60.0, 0.0));
        assert!(!bound.is_silent(last + 1.1, 10.0, 0.0), "few are under way");
        assert!(!bound.is_silent(last + 100.0, 60.0, last + 98.0), "they have only just begun");
        assert!(!InFlight::new(None).is_silent(100.0, 60.0, 0.0), "nothing is known yet");
    }

    #[test]
    fn a_provider_that_got_slower_is_believed_when_fewer_calls_do_not_make_it_quicker() {
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
        assert!(!bound.is_crowded());
    }
}
