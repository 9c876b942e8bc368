//! Estimates a rate limit from a log: what passed between refusals.
//!
//! A refused call shows that the allowance is used up at that time. Between two refusals exactly what the provider allows
//! has passed, whatever its burst and the number of calls; the error is less than one call at either end. (With a provider
//! that allows hardly any burst, less than its limit may pass, never more.) Where the provider counts in windows of time,
//! the estimate is taken from one opening of a window to the next.

use super::Seconds;

/// Number of pieces of the log whose rates are compared for the confidence interval.
const PIECES: usize = 5;

/// Most calls of usual size between two refusals while the allowance is used up, at the rates of a probe.
const CLEAR: f64 = 30.0;

/// Student's t for two-sided 95 % by degrees of freedom, from 1 to 5.
const T95: [f64; 5] = [12.706, 4.303, 3.182, 2.776, 2.571];

/// A call, in the order of sending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Try {
    /// When it was sent.
    pub sent: Seconds,
    /// Units that passed (1 for a call, or its tokens); `None` where it was refused.
    pub passed: Option<f64>,
}

/// An estimated rate with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Units a minute.
    pub per_minute: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Units that it is based on.
    pub units: f64,
    /// Time that it is based on.
    pub seconds: Seconds,
    /// Length of the provider's window, where it counts in windows.
    pub window: Option<Seconds>,
}

impl Estimate {
    /// Half the width of the interval over the value.
    pub fn uncertainty(&self) -> f64 {
        (self.high - self.low) / (2.0 * self.per_minute).max(1e-9)
    }
}

/// A span of time and the units that passed in it.
#[derive(Debug, Clone, Copy)]
struct Span {
    seconds: Seconds,
    units: f64,
}

/// The limit that `tries` reached. At each of `breaks` the probe paused, so that the unused allowance after it is unknown;
/// `size` is the usual size of a call in units.
pub fn rate(tries: &[Try], breaks: &[Seconds], size: f64) -> Option<Estimate> {
    let spans = spans(tries, breaks, size);
    let (seconds, units) = total(&spans);
    if seconds <= 0.0 || units < size {
        return None;
    }
    let rate = units / seconds;
    // The count may be off by one call at each end.
    let edge = size / seconds;
    let half = steadiness(&spans, rate).unwrap_or(edge).max(edge);
    Some(estimate(rate, half, units, seconds, None))
}

/// The limit of a provider that counts in windows, which began at the times `opened`.
pub fn rate_by_window(tries: &[Try], opened: &[Seconds]) -> Option<Estimate> {
    let passed = |from: Seconds, to: Seconds| -> f64 {
        tries.iter().filter(|one| one.sent >= from && one.sent < to).filter_map(|one| one.passed).sum()
    };
    let spans: Vec<Span> = opened
        .windows(2)
        .filter_map(|pair| {
            let [from, to] = pair else { return None };
            Some(Span { seconds: to - from, units: passed(*from, *to) })
        })
        .collect();
    let (seconds, units) = total(&spans);
    if spans.is_empty() || seconds <= 0.0 || units <= 0.0 {
        return None;
    }
    let rate = units / seconds;
    // Waits are often rounded to whole seconds: each end may be off by half a second.
    let edge = rate * (0.5 / seconds).max(0.005);
    let half = spread(&spans, rate).unwrap_or(edge).max(edge);
    Some(estimate(rate, half, units, seconds, Some(seconds / spans.len() as f64)))
}

fn estimate(rate: f64, half: f64, units: f64, seconds: Seconds, window: Option<Seconds>) -> Estimate {
    let (low, high) = ((rate - half).max(0.0) * 60.0, (rate + half) * 60.0);
    Estimate { per_minute: rate * 60.0, low, high, units, seconds, window }
}

/// The spans from each refusal to the next, without those that contain a break.
fn spans(tries: &[Try], breaks: &[Seconds], size: f64) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut mark, mut units) = (None::<Seconds>, 0.0);
    let mut breaks = breaks.iter().copied().peekable();
    for one in tries {
        while breaks.next_if(|at| *at <= one.sent).is_some() {
            mark = None;
        }
        if let Some(passed) = one.passed {
            units += passed;
            continue;
        }
        // After more units than that the rate was not above the limit: the refusal had another cause.
        if let Some(mark) = mark.filter(|_| units <= CLEAR * size) {
            spans.push(Span { seconds: one.sent - mark, units });
        }
        (mark, units) = (Some(one.sent), 0.0);
    }
    spans
}

fn total(spans: &[Span]) -> (Seconds, f64) {
    spans.iter().fold((0.0, 0.0), |(seconds, units), span| (seconds + span.seconds, units + span.units))
}

/// Half-width of the interval by the rates of equally long pieces.
fn steadiness(spans: &[Span], rate: f64) -> Option<f64> {
    let (whole, _) = total(spans);
    let mut pieces: Vec<Span> = Vec::new();
    let (mut seconds, mut units, mut before) = (0.0, 0.0, 0.0);
    for span in spans {
        seconds += span.seconds;
        units += span.units;
        if before + seconds >= whole * (pieces.len() + 1) as f64 / PIECES as f64 - 1e-9 {
            before += seconds;
            pieces.push(Span { seconds, units });
            (seconds, units) = (0.0, 0.0);
        }
    }
    spread(&pieces, rate)
}

/// Half-width of the interval by the rates of `pieces`.
fn spread(pieces: &[Span], rate: f64) -> Option<f64> {
    let count = pieces.len();
    let student = T95.get(count.checked_sub(2)?.min(T95.len() - 1))?;
    let squares: f64 = pieces
        .iter()
        .filter(|piece| piece.seconds > 0.0)
        .map(|piece| (piece.units / piece.seconds - rate).powi(2))
        .sum();
    Some(student * (squares / (count - 1) as f64 / count as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use llm::limit::bucket::Bucket;

    use super::*;

    /// Calls at `pace` a second to a token bucket.
    fn into_bucket(limit: f64, burst: f64, pace: f64, seconds: f64, size: f64) -> Vec<Try> {
        let mut bucket = Bucket::new(limit, burst, 0.0);
        let mut tries = Vec::new();
        let mut now = 0.0;
        while now < seconds {
            let pass = bucket.ready(now, size) <= now;
            if pass {
                bucket.take(now, size);
            }
            tries.push(Try { sent: now, passed: pass.then_some(size) });
            now += 1.0 / pace;
        }
        tries
    }

    #[test]
    fn a_bucket_is_measured_whatever_its_burst_and_the_pace() {
        for (limit, burst, pace) in
            [(1.0, 2.0, 1.2), (8.0, 8.0, 9.0), (8.0, 100.0, 40.0), (100.0, 30.0, 130.0)]
        {
            let seconds = burst / limit + 100.0 / limit + 20.0;
            let tries = into_bucket(limit, burst, pace, seconds, 1.0);
            let found = rate(&tries, &[], 1.0).unwrap();
            let off = found.per_minute / (60.0 * limit) - 1.0;
            assert!(off.abs() < 0.03, "{limit} {burst} {pace}: {found:?}");
            assert!(found.low <= 60.0 * limit && found.high >= 60.0 * limit, "{found:?}");
        }
    }

    #[test]
    fn tokens_are_measured_by_tokens() {
        let tries = into_bucket(1000.0, 2000.0, 4.0, 120.0, 400.0);
        let found = rate(&tries, &[], 400.0).unwrap();
        assert!((found.per_minute / 60_000.0 - 1.0).abs() < 0.03, "{found:?}");
    }

    #[test]
    fn a_pause_is_left_out() {
        let mut tries = into_bucket(8.0, 8.0, 24.0, 30.0, 1.0);
        let late = into_bucket(8.0, 8.0, 24.0, 30.0, 1.0);
        tries.extend(late.iter().map(|one| Try { sent: one.sent + 100.0, ..*one }));
        let with = rate(&tries, &[60.0], 1.0).unwrap().per_minute;
        let without = rate(&tries, &[], 1.0).unwrap().per_minute;
        assert!((with / 480.0 - 1.0).abs() < 0.03 && without < 400.0, "{with} {without}");
    }

    #[test]
    fn windows_are_measured_from_opening_to_opening() {
        // 60 in each minute, used up in the first 20 s.
        let tries: Vec<Try> = (0..240)
            .map(|number| {
                let (window, place) = (f64::from(number / 80), f64::from(number % 80));
                Try { sent: window * 60.0 + place / 3.0, passed: (place < 60.0).then_some(1.0) }
            })
            .collect();
        let found = rate_by_window(&tries, &[0.0, 60.0, 120.0]).unwrap();
        assert!((found.per_minute - 60.0).abs() < 1e-9 && found.uncertainty() < 0.02, "{found:?}");
        assert_eq!(found.window, Some(60.0));
    }

    #[test]
    fn too_few_calls_give_no_estimate() {
        let tries = into_bucket(1.0, 1.0, 1.5, 100.0, 1.0);
        assert_eq!(rate(&tries[..1], &[], 1.0), None);
        assert_eq!(rate(&[], &[], 1.0), None);
        let never: Vec<Try> = tries.iter().map(|one| Try { passed: Some(1.0), ..*one }).collect();
        assert_eq!(rate(&never, &[], 1.0), None);
    }

    #[test]
    fn an_unsteady_rate_has_a_wider_interval() {
        let mut tries = into_bucket(8.0, 8.0, 12.0, 60.0, 1.0);
        let steady = rate(&tries, &[], 1.0).unwrap().uncertainty();
        let slower = into_bucket(4.0, 4.0, 12.0, 60.0, 1.0);
        tries.extend(slower.iter().map(|one| Try { sent: one.sent + 60.0, ..*one }));
        assert!(rate(&tries, &[], 1.0).unwrap().uncertainty() > 4.0 * steady);
    }
}
