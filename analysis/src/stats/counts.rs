//! Frequencies of integers, with median and percentiles.

use std::collections::BTreeMap;

use serde::Serialize;

/// Number of occurrences of each integer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

/// A median that is either a value or the mean of two values. In the paper's JSON the first is an integer (`8`) and the
/// second a float (`9.0`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Median {
    Middle(u64),
    /// The mean of the two middle values.
    Between(f64),
}

impl Median {
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Middle(value) => value as f64,
            Self::Between(value) => value,
        }
    }
}

impl Counts {
    /// Adds `times` occurrences of `value`.
    pub(crate) fn add(&mut self, value: u64, times: u64) {
        if times > 0 {
            *self.counts.entry(value).or_default() += times;
            self.total += times;
        }
    }

    pub(crate) fn max(&self) -> Option<u64> {
        self.counts.last_key_value().map(|(value, _)| *value)
    }

    /// The value at a 0-based index of the sorted occurrences.
    fn at(&self, place: u64) -> Option<u64> {
        let mut seen = 0;
        self.counts.iter().find_map(|(value, times)| {
            seen += times;
            (place < seen).then_some(*value)
        })
    }

    /// The median; `None` without values.
    pub(crate) fn median(&self) -> Option<Median> {
        let upper = self.at(self.total / 2)?;
        if self.total % 2 == 1 {
            return Some(Median::Middle(upper));
        }
        let lower = self.at(self.total / 2 - 1)?;
        Some(Median::Between(f64::midpoint(lower as f64, upper as f64)))
    }

    /// The percentile `p` (0 to 100) by linear interpolation between the indices ⌊h⌋ and ⌈h⌉ of the sorted values,
    /// h = p/100 · (n − 1).
    pub(crate) fn percentile(&self, p: f64) -> Option<f64> {
        let last = self.total.checked_sub(1)?;
        let h = (p / 100.0).clamp(0.0, 1.0) * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ h ≤ n − 1")]
        let (below, above) = (h.floor() as u64, h.ceil() as u64);
        let (low, high) = (self.at(below)? as f64, self.at(above.min(last))? as f64);
        Some(low + (high - low) * h.fract())
    }
}

/// Counts one more of a word.
pub(crate) fn count(counts: &mut BTreeMap<String, u64>, word: &str) {
    match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => {
            counts.insert(word.to_owned(), 1);
        }
    }
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
}
