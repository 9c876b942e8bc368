//! Sizes of comparisons of two shares: records needed to see a difference, and differences that records can show.
//!
//! Unpaired: the normal approximation with the pooled variance under the null hypothesis (Fleiss, Levin and Paik,
//! "Statistical Methods for Rates and Proportions", 2003, without the continuity correction), as in R's
//! `power.prop.test`. Paired: the approximation for `McNemar`'s test of R. J. Connor, "Sample size for testing differences
//! in proportions for the paired-sample design", Biometrics 43 (1987). Both two-sided.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The errors that a comparison allows itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Errors {
    /// Probability of a difference where there is none, two-sided.
    pub(crate) alpha: f64,
    /// Probability of seeing a difference that is there.
    pub(crate) power: f64,
}

impl Errors {
    /// The normal quantiles of both.
    fn quantiles(self) -> Option<(f64, f64)> {
        let normal = Normal::new(0.0, 1.0).ok()?;
        let open = |x: f64| x > 0.0 && x < 1.0;
        (open(self.alpha) && open(self.power))
            .then(|| (normal.inverse_cdf(1.0 - self.alpha / 2.0), normal.inverse_cdf(self.power)))
    }
}

/// Records **of each** of two runs over different records, to see the shares `a` and `b` differ. `None` if they do not, or
/// are no shares.
pub(crate) fn unpaired(a: f64, b: f64, errors: Errors) -> Option<f64> {
    let share = |x: &f64| (0.0..=1.0).contains(x);
    let difference = (a - b).abs();
    if ![a, b].iter().all(share) || difference <= 0.0 {
        return None;
    }
    let (alpha, power) = errors.quantiles()?;
    let mean = f64::midpoint(a, b);
    let null = (2.0 * mean * (1.0 - mean)).sqrt();
    let alternative = (a * (1.0 - a) + b * (1.0 - b)).sqrt();
    Some(((alpha * null + power * alternative) / difference).powi(2))
}

/// Records that two runs over the same records need, to see a difference of their shares, if a share `discordant` of the
/// records is accepted by one of them alone. `None` if the difference is not positive or exceeds that share.
pub(crate) fn paired(difference: f64, discordant: f64, errors: Errors) -> Option<f64> {
    if !(difference > 0.0 && difference <= discordant && discordant <= 1.0) {
        return None;
    }
    let (alpha, power) = errors.quantiles()?;
    let alternative = (discordant - difference * difference).max(0.0).sqrt();
    Some(((alpha * discordant.sqrt() + power * alternative) / difference).powi(2))
}

/// The smallest difference that `records` of each run show, from the share `a` to a smaller or larger one; `None`: none.
pub(crate) fn seen_unpaired(a: f64, records: u64, errors: Errors) -> Option<f64> {
    // Towards the middle, where there is room.
    let direction = if a > 0.5 { -1.0 } else { 1.0 };
    let most = if a > 0.5 { a } else { 1.0 - a };
    smallest(most, |difference| unpaired(a, a + direction * difference, errors), records)
}

/// The smallest difference that `records` pairs show, with this share of discordant pairs; `None`: none.
pub(crate) fn seen_paired(discordant: f64, records: u64, errors: Errors) -> Option<f64> {
    smallest(discordant, |difference| paired(difference, discordant, errors), records)
}

/// The smallest difference, up to `most`, for which `needed` gives at most `records`, by bisection: the larger the
/// difference, the fewer are needed.
fn smallest(most: f64, needed: impl Fn(f64) -> Option<f64>, records: u64) -> Option<f64> {
    let enough = |difference: f64| needed(difference).is_some_and(|needed| needed <= records as f64);
    if !enough(most) {
        return None;
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Errors = Errors { alpha: 0.05, power: 0.8 };

    fn close(a: Option<f64>, b: f64, by: f64) {
        assert!((a.unwrap() - b).abs() <= by, "{a:?} {b}");
    }

    #[test]
    fn unpaired_sizes_are_those_of_r() {
        // R, stats::power.prop.test, its examples: p1 = .50, p2 = .75, power = .90 gives n = 76.7; n = 50, p1 = .50,
        // p2 = .75 gives power = 0.740; n = 50, p1 = .5, power = .90 gives p2 = 0.8026.
        close(unpaired(0.50, 0.75, Errors { power: 0.9, ..USUAL }), 76.7, 0.05);
        close(unpaired(0.50, 0.75, Errors { power: 0.740, ..USUAL }), 50.0, 0.1);
        close(seen_unpaired(0.5, 50, Errors { power: 0.9, ..USUAL }), 0.3026, 5e-5);
    }

    #[test]
    fn paired_sizes_are_those_of_the_literature() {
        // Validated results in the tests of R's MESS::power_mcnemar_test: discordant probabilities .05 and .45 with a
        // power of .8 take 22 pairs, one-sided 17.
        close(paired(0.40, 0.50, USUAL), 22.0, 0.5);
        close(paired(0.40, 0.50, Errors { alpha: 0.10, ..USUAL }), 17.0, 0.5);
        close(seen_paired(0.50, 22, USUAL), 0.40, 0.001);
    }

    #[test]
    fn the_smallest_difference_is_the_inverse() {
        for (share, records) in [(0.9, 1000), (0.995, 13_656), (0.3, 200)] {
            let seen = seen_unpaired(share, records, USUAL).unwrap();
            let other = if share > 0.5 { share - seen } else { share + seen };
            close(unpaired(share, other, USUAL), records as f64, 0.01 * records as f64);
        }
        for (discordant, records) in [(0.1, 1000), (0.02, 13_656)] {
            let seen = seen_paired(discordant, records, USUAL).unwrap();
            close(paired(seen, discordant, USUAL), records as f64, 0.01 * records as f64);
        }
    }

    #[test]
    fn what_cannot_be_compared_has_no_size() {
        for (a, b) in [(0.5, 0.5), (0.5, 1.5), (f64::NAN, 0.5)] {
            assert_eq!(unpaired(a, b, USUAL), None);
        }
        assert_eq!(paired(0.2, 0.1, USUAL), None, "more differ than are discordant");
        assert_eq!(paired(0.0, 0.1, USUAL), None);
        assert_eq!(unpaired(0.5, 0.6, Errors { alpha: 0.0, power: 0.8 }), None);
        assert_eq!(seen_unpaired(0.9, 2, USUAL), None, "too few for any difference");
        assert_eq!(seen_paired(0.0, 1000, USUAL), None, "nothing differs");
    }
}
