//! Proportions with their Wilson intervals.

use serde::Serialize;

/// 97.5 % point of the standard normal distribution (two-sided 95 %), rounded as in the paper.
const Z_95: f64 = 1.96;

/// Share of a total: `count` of `of`, with the rate and its Wilson score interval at 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Proportion {
    pub(crate) count: u64,
    pub(crate) of: u64,
    /// `None` if the total is 0.
    pub(crate) rate: Option<f64>,
    /// Lower end of the interval.
    pub(crate) low: Option<f64>,
    /// Upper end of the interval.
    pub(crate) high: Option<f64>,
}

impl Proportion {
    pub(crate) fn new(count: u64, of: u64) -> Self {
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
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). Clamped to
/// 0 and 1 because of rounding errors.
pub(crate) fn wilson(successes: u64, trials: u64) -> Option<(f64, f64)> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
