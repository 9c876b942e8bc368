//! Medians, percentiles, intervals and rounding. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

/// 97.5 % point of the standard normal distribution (two-sided 95 %), rounded as in the published intervals.
const Z_95: f64 = 1.96;

/// How often each whole number occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

/// A median that knows whether it is one of the values or the mean of two. The original prints the first as an
/// integer (`8`) and the second as a float (`9.0`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Median {
    /// The middle value.
    Middle(u64),
    /// The mean of the two middle values.
    Between(f64),
}

impl Median {
    /// The median as a number.
    pub fn value(self) -> f64 {
        match self {
            Self::Middle(value) => value as f64,
            Self::Between(value) => value,
        }
    }
}

impl Counts {
    /// Adds `times` occurrences of `value`.
    pub fn add(&mut self, value: u64, times: u64) {
        if times > 0 {
            *self.counts.entry(value).or_default() += times;
            self.total += times;
        }
    }

    /// How many occurrences there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value.
    pub fn max(&self) -> Option<u64> {
        self.counts.last_key_value().map(|(value, _)| *value)
    }

    /// The value at a 0-based place of the sorted occurrences.
    fn at(&self, place: u64) -> Option<u64> {
        let mut seen = 0;
        self.counts.iter().find_map(|(value, times)| {
            seen += times;
            (place < seen).then_some(*value)
        })
    }

    /// The median; `None` without values.
    pub fn median(&self) -> Option<Median> {
        let upper = self.at(self.total / 2)?;
        if self.total % 2 == 1 {
            return Some(Median::Middle(upper));
        }
        let lower = self.at(self.total / 2 - 1)?;
        Some(Median::Between(f64::midpoint(lower as f64, upper as f64)))
    }

    /// The percentile `p` (0 to 100) by linear interpolation between the places ⌊h⌋ and ⌈h⌉ of the sorted values,
    /// h = p/100 · (n − 1).
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let last = self.total.checked_sub(1)?;
        let h = (p / 100.0).clamp(0.0, 1.0) * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ h ≤ n − 1")]
        let (below, above) = (h.floor() as u64, h.ceil() as u64);
        let (low, high) = (self.at(below)? as f64, self.at(above.min(last))? as f64);
        Some(low + (high - low) * h.fract())
    }
}

/// A count of a total, with the share and its Wilson score interval at 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Proportion {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// The share; `None` of nothing.
    pub rate: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

impl Proportion {
    /// `count` of `of`.
    pub fn new(count: u64, of: u64) -> Self {
        let interval = wilson(count, of);
        Self {
            count,
            of,
            rate: interval.map(|_| count as f64 / of as f64),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
        }
    }
}

/// The Wilson score interval at 95 % of `successes` in `trials`; `None` without trials.
///
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). Kept within
/// 0 and 1, which rounding errors may leave.
pub fn wilson(successes: u64, trials: u64) -> Option<(f64, f64)> {
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let p = successes.min(trials) as f64 / n;
    let z2 = Z_95 * Z_95;
    let centre = p + z2 / (2.0 * n);
    let spread = Z_95 * ((p * (1.0 - p) + z2 / (4.0 * n)) / n).sqrt();
    let scale = 1.0 + z2 / n;
    Some((((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0)))
}

/// Rounds to `digits` decimals as Python's `round(x, digits)` does: the exact binary value, ties to even.
pub fn round(x: f64, digits: usize) -> f64 {
    // Rust prints the correctly rounded decimal of the exact value, ties to even.
    format!("{x:.digits$}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[u64]) -> Counts {
        let mut counts = Counts::default();
        for value in values {
            counts.add(*value, 1);
        }
        counts
    }

    #[test]
    fn an_odd_median_is_a_value_and_an_even_one_a_mean() {
        assert_eq!(counts(&[9, 1, 8]).median(), Some(Median::Middle(8)));
        assert_eq!(counts(&[8, 10]).median(), Some(Median::Between(9.0)));
        assert_eq!(counts(&[1, 2]).median(), Some(Median::Between(1.5)));
        assert_eq!(counts(&[]).median(), None);
        assert_eq!(serde_json::to_string(&Median::Middle(8)).unwrap(), "8");
        assert_eq!(serde_json::to_string(&Median::Between(9.0)).unwrap(), "9.0");
    }

    #[test]
    fn percentiles_interpolate() {
        let ten = counts(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(ten.percentile(0.0), Some(1.0));
        assert_eq!(ten.percentile(50.0), Some(5.5));
        assert!((ten.percentile(95.0).unwrap() - 9.55).abs() < 1e-12);
        assert_eq!(ten.percentile(100.0), Some(10.0));
        assert_eq!(counts(&[7]).percentile(95.0), Some(7.0));
        assert_eq!(counts(&[]).percentile(95.0), None);
    }

    #[test]
    fn wilson_agrees_with_known_intervals() {
        let close = |(low, high): (f64, f64), (a, b): (f64, f64)| {
            assert!((low - a).abs() < 1e-12 && (high - b).abs() < 1e-12, "{low} {high}");
        };
        close(wilson(13_589, 13_656).unwrap(), (0.993_774_485_454_637_8, 0.996_134_504_412_418_8));
        close(wilson(4439, 5000).unwrap(), (0.878_752_238_241_748_4, 0.896_252_310_263_544_1));
        close(wilson(1264, 1264).unwrap(), (0.996_969_968_488_177_1, 1.0));
        let (low, high) = wilson(0, 10).unwrap();
        assert!(low.abs() < 1e-15 && (high - 0.2775).abs() < 1e-4, "{high}");
        assert_eq!(wilson(0, 0), None);
        assert!(wilson(5, 5).unwrap().1 <= 1.0);
    }

    #[test]
    fn rounding_is_of_the_exact_value_with_ties_to_even() {
        for (x, digits, rounded) in [
            (2.675, 2, 2.67),
            (0.125, 2, 0.12),
            (0.375, 2, 0.38),
            (2.5, 0, 2.0),
            (0.5, 0, 0.0),
            (1.0 - 1e-9, 4, 1.0),
            (13_589.0 / 13_656.0, 4, 0.9951),
            (0.000_05, 4, 0.0001),
            (1e22, 2, 1e22),
            (-2.5, 0, -2.0),
        ] {
            assert_eq!(round(x, digits).to_bits(), f64::to_bits(rounded), "{x} {digits}");
        }
    }
}
