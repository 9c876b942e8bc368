//! Sorted measurements, with the different percentile definitions that the paper's files use.

/// Sorted finite numbers. Non-finite numbers are left out: they count as not measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }
}

impl Sample {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In ascending order.
    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// Sum in ascending order.
    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum() / self.len() as f64)
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let upper = *self.0.get(self.len() / 2)?;
        if self.len() % 2 == 1 {
            return Some(upper);
        }
        Some(f64::midpoint(*self.0.get(self.len() / 2 - 1)?, upper))
    }

    /// Percentile `p` (0 to 100) by linear interpolation between the indices ⌊h⌋ and ⌈h⌉, h = p/100 · (n − 1): the
    /// definition to use.
    pub(crate) fn linear(&self, p: f64) -> Option<f64> {
        let last = self.len().checked_sub(1)?;
        let h = (p / 100.0).clamp(0.0, 1.0) * last as f64;
        let below = floor(h);
        let (low, high) = (*self.0.get(below)?, *self.0.get((below + 1).min(last))?);
        Some(low + (high - low) * h.fract())
    }

    /// Percentile `p` (0 to 100) by nearest rank: x[⌈p/100 · n⌉ − 1]. The paper uses it for ranks and waits of a
    /// comparison.
    pub(crate) fn nearest_rank(&self, p: f64) -> Option<f64> {
        let last = self.len().checked_sub(1)?;
        let rank = floor((p / 100.0 * self.len() as f64).ceil()).max(1);
        self.0.get((rank - 1).min(last)).copied()
    }

    /// The ninth decile by the exclusive method: m = n + 1, j = ⌊9m/10⌋ in 1..n, δ = 9m − 10j. The paper uses it for
    /// the `p90` of probes. `None` for fewer than two numbers, where the method is not defined.
    pub(crate) fn exclusive_p90(&self) -> Option<f64> {
        let n = self.len();
        if n < 2 {
            return None;
        }
        let m = n + 1;
        let j = (9 * m / 10).clamp(1, n - 1);
        let delta = (9 * m) as f64 - (10 * j) as f64;
        Some((self.0.get(j - 1)? * (10.0 - delta) + self.0.get(j)? * delta) / 10.0)
    }

    /// The Gini coefficient, 0 (all equal) to 1: 2 · Σ i·x₍ᵢ₎ / (n · Σx) − (n + 1)/n; 0 when all are 0.
    pub(crate) fn gini(&self) -> Option<f64> {
        let n = self.len() as f64;
        let sum = self.sum();
        if self.is_empty() {
            return None;
        }
        if sum == 0.0 {
            return Some(0.0);
        }
        let weighted: f64 = self.0.iter().enumerate().map(|(index, x)| (index + 1) as f64 * x).sum();
        Some(2.0 * weighted / (n * sum) - (n + 1.0) / n)
    }

    /// The share of numbers greater than `limit`; 0 for an empty sample.
    pub(crate) fn share_above(&self, limit: f64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        (self.len() - self.0.partition_point(|x| *x <= limit)) as f64 / self.len() as f64
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list: small and not negative"
)]
fn floor(x: f64) -> usize {
    x.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
    }

    #[test]
    fn definitions_differ() {
        let ten: Sample = (1..=10).map(f64::from).collect();
        close(ten.linear(95.0), 9.55);
        close(ten.nearest_rank(95.0), 10.0);
        close(ten.nearest_rank(90.0), 9.0);
        close(ten.exclusive_p90(), 9.9);
        close(ten.median(), 5.5);
        close(ten.mean(), 5.5);
    }

    #[test]
    fn edges() {
        let none = Sample::default();
        assert_eq!(
            (none.linear(50.0), none.median(), none.gini(), none.nearest_rank(1.0)),
            (None, None, None, None)
        );
        let one: Sample = [7.0, f64::NAN, f64::INFINITY].into_iter().collect();
        assert_eq!(one.len(), 1);
        close(one.linear(99.0), 7.0);
        close(one.nearest_rank(0.0), 7.0);
        assert_eq!(one.exclusive_p90(), None);
        close(one.gini(), 0.0);
        assert!(none.share_above(1.0).abs() < 1e-15);
    }

    #[test]
    fn gini_of_equals_is_0_and_of_one_owner_near_1() {
        let equal: Sample = [3.0; 8].into_iter().collect();
        assert!(equal.gini().unwrap().abs() < 1e-12);
        let owner: Sample = (0..100).map(|i| f64::from(i == 7)).collect();
        close(owner.gini(), 0.99);
        // Waits of equal jobs one after another: (n + 1)/(3n).
        let waits: Sample = (0..830).map(|i| f64::from(i) / 6.0).collect();
        close(waits.gini(), 831.0 / (3.0 * 830.0));
        close(Some(waits.share_above(72.0)), (830.0 - 433.0) / 830.0);
    }
}
