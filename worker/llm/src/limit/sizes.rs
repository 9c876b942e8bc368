//! Expected tokens of a call, learnt from the usage of earlier calls.
//!
//! An estimate is off in two ways: by the tokens per byte, in proportion to the prompt's length, and by the length of
//! the response, which does not depend on the prompt's. So a straight line is fitted to estimated and used tokens
//! (least squares, with exponential forgetting).

/// Factor on the weight of earlier calls with each new one.
const FADE: f64 = 0.98;

/// Bounds of the slope.
const SLOPE: (f64, f64) = (0.2, 5.0);

/// Bounds of the expectation as a multiple of the estimate.
const RATIO: (f64, f64) = (0.05, 20.0);

/// Weighted sums over the calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Sizes {
    weight: f64,
    estimate: f64,
    taken: f64,
    squares: f64,
    products: f64,
}

impl Sizes {
    /// Adds a call with its estimated and used tokens.
    pub(super) fn add(&mut self, estimate: f64, taken: f64) {
        for sum in
            [&mut self.weight, &mut self.estimate, &mut self.taken, &mut self.squares, &mut self.products]
        {
            *sum *= FADE;
        }
        self.weight += 1.0;
        self.estimate += estimate;
        self.taken += taken;
        self.squares += estimate * estimate;
        self.products += estimate * taken;
    }

    /// Mean tokens of a call; `None` before the first.
    pub(super) fn typical(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.taken / self.weight)
    }

    /// Expected tokens of a call with this estimate.
    pub(super) fn expected(&self, estimate: f64) -> f64 {
        if self.weight <= 0.0 || estimate <= 0.0 {
            return estimate;
        }
        let (mean, taken) = (self.estimate / self.weight, self.taken / self.weight);
        let variance = self.squares / self.weight - mean * mean;
        let slope = if variance > 1e-6 * mean * mean {
            ((self.products / self.weight - mean * taken) / variance).clamp(SLOPE.0, SLOPE.1)
        } else {
            1.0
        };
        (taken + slope * (estimate - mean)).clamp(RATIO.0 * estimate, RATIO.1 * estimate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_learnt_and_before_that_the_estimate_counts() {
        let mut sizes = Sizes::default();
        assert!((sizes.expected(700.0) - 700.0).abs() < 1e-9);
        assert_eq!(sizes.typical(), None);
        sizes.add(1000.0, 400.0);
        assert!((sizes.expected(1000.0) - 400.0).abs() < 1e-6);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let estimate = random.f64() * 3000.0 + 500.0;
            sizes.add(estimate, 1.2 * estimate - 300.0 + random.f64() * 20.0);
        }
        for estimate in [600.0, 2000.0, 8000.0] {
            let (expected, right) = (sizes.expected(estimate), 1.2 * estimate - 290.0);
            assert!((expected / right - 1.0).abs() < 0.02, "{expected} for {right}");
        }
    }

    #[test]
    fn expectations_are_bounded() {
        let mut sizes = Sizes::default();
        sizes.add(1000.0, 1000.0);
        sizes.add(1100.0, 200_000.0);
        assert!(sizes.expected(10.0) >= 0.5 && sizes.expected(10.0) <= 200.0, "{}", sizes.expected(10.0));
        assert!(sizes.expected(1e6) <= 2e7);
    }
}
