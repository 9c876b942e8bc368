//! Tests of two groups, and corrections for multiple tests.

use serde::Serialize;
use statrs::distribution::{Binomial, Discrete as _, DiscreteCDF as _, Hypergeometric};
use statrs::function::erf;

/// The z test of two proportions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct TwoProportions {
    /// Pooled z statistic; 0 when nothing varies.
    pub(crate) z: f64,
    /// Two-sided p as in the paper: 2·(1 − Φ(|z|)), which is 0 for large z.
    pub(crate) paper_p: f64,
    /// Two-sided p by the complementary error function, which does not underflow there.
    pub(crate) p: f64,
}

/// The pooled z test of two groups, each (successes, trials).
pub(crate) fn two_proportions(first: (u64, u64), second: (u64, u64)) -> TwoProportions {
    let ((a, n), (b, m)) = ((first.0 as f64, first.1 as f64), (second.0 as f64, second.1 as f64));
    let pooled = (a + b) / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance <= 0.0 || !variance.is_finite() {
        return TwoProportions { z: 0.0, paper_p: 1.0, p: 1.0 };
    }
    let statistic = (a / n - b / m) / variance.sqrt();
    let scaled = statistic.abs() / std::f64::consts::SQRT_2;
    TwoProportions {
        z: statistic,
        paper_p: 2.0 * (1.0 - 0.5 * (1.0 + erf::erf(scaled))),
        p: erf::erfc(scaled),
    }
}

/// Fisher's exact test of a/n against b/m, two-sided: the sum over all tables that are at most as likely.
pub(crate) fn fisher_exact((a, n): (u64, u64), (b, m): (u64, u64)) -> Option<f64> {
    let successes = a.checked_add(b)?;
    let drawn = Hypergeometric::new(n.checked_add(m)?, successes, n).ok()?;
    let seen = drawn.ln_pmf(a) + 1e-7;
    let range = successes.saturating_sub(m)..=successes.min(n);
    Some(range.map(|k| drawn.ln_pmf(k)).filter(|p| *p <= seen).map(f64::exp).sum::<f64>().min(1.0))
}

/// `McNemar`'s test of paired outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct McNemar {
    /// Pairs where only the first succeeded.
    pub(crate) only_first: u64,
    /// Pairs where only the second succeeded.
    pub(crate) only_second: u64,
    /// Two-sided exact p (binomial with one half); 0 where it is less than a double holds.
    pub(crate) p: f64,
    /// Its decimal logarithm, which does not underflow.
    pub(crate) log10_p: f64,
}

/// `McNemar`'s exact test.
pub(crate) fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let pairs = only_first + only_second;
    let least = only_first.min(only_second);
    let (p, log10_p) = match Binomial::new(0.5, pairs) {
        Ok(half) if pairs > 0 => {
            let logarithm = (std::f64::consts::LN_2 + half.ln_pmf(least) + tail(pairs, least).ln())
                / std::f64::consts::LN_10;
            ((2.0 * half.cdf(least)).min(1.0), logarithm.min(0.0))
        }
        _ => (1.0, 0.0),
    };
    McNemar { only_first, only_second, p, log10_p }
}

/// The probability of at most `most` of `pairs` heads, over that of exactly `most`.
fn tail(pairs: u64, most: u64) -> f64 {
    let (mut sum, mut term, mut heads) = (1.0, 1.0, most);
    while heads > 0 && term > 1e-18 * sum {
        term *= heads as f64 / (pairs - heads + 1) as f64;
        sum += term;
        heads -= 1;
    }
    sum
}

/// p values adjusted for the family-wise error rate (Holm 1979), in the given order.
pub(crate) fn holm(p: &[f64]) -> Vec<f64> {
    adjusted(p, |place, n| (n - place) as f64, false)
}

/// p values adjusted for the false discovery rate (Benjamini and Hochberg 1995), in the given order.
pub(crate) fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    adjusted(p, |place, n| n as f64 / (place + 1) as f64, true)
}

fn adjusted(p: &[f64], factor: impl Fn(usize, usize) -> f64, from_largest: bool) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = p.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut steps: Vec<(usize, f64)> = order
        .iter()
        .enumerate()
        .map(|(place, (index, p))| (*index, (p * factor(place, order.len())).min(1.0)))
        .collect();
    if from_largest {
        steps.reverse();
    }
    let mut bound: Option<f64> = None;
    for (_, p) in &mut steps {
        let kept = match bound {
            Some(bound) if from_largest => p.min(bound),
            Some(bound) => p.max(bound),
            None => *p,
        };
        *p = kept;
        bound = Some(kept);
    }
    steps.sort_by_key(|(index, _)| *index);
    steps.into_iter().map(|(_, p)| p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} {b}");
    }

    #[test]
    fn the_z_tests_of_the_paper() {
        let test = two_proportions((1264, 1264), (13_589, 13_656));
        close(test.z, 2.495_896_116_566_873, 1e-12);
        close(test.paper_p, 0.012_563_939_001_988_711, 1e-12);
        let far = two_proportions((13_589, 13_656), (4439, 5000));
        assert!(far.paper_p.abs() < 1e-300 && far.p > 0.0, "{far:?}");
        close(two_proportions((5, 5), (7, 7)).p, 1.0, 0.0);
        close(two_proportions((0, 0), (7, 9)).p, 1.0, 0.0);
    }

    #[test]
    fn fisher_is_exact() {
        // The lady tasting tea: 3 of 4 right.
        close(fisher_exact((3, 4), (1, 4)).unwrap(), 34.0 / 70.0, 1e-9);
        close(fisher_exact((1264, 1264), (13_589, 13_656)).unwrap(), 0.0063, 1e-4);
        close(fisher_exact((5, 5), (7, 7)).unwrap(), 1.0, 1e-9);
    }

    #[test]
    fn mcnemar_counts_only_what_differs() {
        close(mcnemar(0, 0).p, 1.0, 0.0);
        close(mcnemar(1, 9).p, 2.0 * 11.0 / 1024.0, 1e-12);
        close(mcnemar(9, 1).p, mcnemar(1, 9).p, 0.0);
        for (first, second) in [(0, 0), (1, 9), (9, 1), (0, 40), (5, 5), (100, 180)] {
            let test = mcnemar(first, second);
            close(test.log10_p, test.p.log10(), 1e-9);
        }
        let far = mcnemar(0, 2000);
        assert!(far.p < 1e-300);
        close(far.log10_p, 1999.0 * 0.5_f64.log10(), 1e-6);
    }

    #[test]
    fn corrections_keep_the_order_given() {
        let p = [0.01, 0.04, 0.03, 0.005];
        for (got, want) in holm(&p).into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(got, want, 1e-12);
        }
        for (got, want) in benjamini_hochberg(&p).into_iter().zip([0.02, 0.04, 0.04, 0.02]) {
            close(got, want, 1e-12);
        }
        assert!(holm(&[]).is_empty());
    }
}
