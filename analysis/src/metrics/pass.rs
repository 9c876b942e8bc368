//! pass@k: the probability that at least one of `k` samples of a model is accepted.

use std::collections::BTreeMap;

use serde::Serialize;

/// The expected share of records that `k` samples repair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PassAtK {
    pub(crate) k: u64,
    /// Rows with at least `k` samples.
    pub(crate) n: u64,
    /// Mean over these rows, 0 to 1. Patches by rules do not count.
    pub(crate) rate: f64,
}

/// pass@k for every `k` up to the largest number of samples of a row; empty without a model. `rows` are the numbers of
/// rows by samples drawn and samples passed.
pub(super) fn pass_at_k(rows: &BTreeMap<(u64, u64), u64>) -> Vec<PassAtK> {
    let groups: Vec<Group> =
        rows.iter().map(|(&(drawn, passed), &rows)| Group { drawn, passed, rows }).collect();
    let most = groups.iter().map(|group| group.drawn).max().unwrap_or(0);
    (1..=most).map(|k| expected(&groups, k)).collect()
}

/// Rows with the same counts of samples.
#[derive(Debug, Clone, Copy)]
struct Group {
    drawn: u64,
    passed: u64,
    rows: u64,
}

fn expected(groups: &[Group], k: u64) -> PassAtK {
    let enough = || groups.iter().filter(|group| group.drawn >= k);
    let n = enough().map(|group| group.rows).sum::<u64>();
    let sum: f64 = enough().map(|group| group.rows as f64 * some_pass(group.drawn, group.passed, k)).sum();
    PassAtK { k, n, rate: if n == 0 { 0.0 } else { sum / n as f64 } }
}

/// The probability that at least one of `k` samples passes, drawn from `drawn` samples of which `passed` passed:
/// 1 - C(drawn - passed, k) / C(drawn, k), the unbiased estimator of "Evaluating Large Language Models Trained on Code"
/// (Chen et al. 2021, section 2.1), as a product.
fn some_pass(drawn: u64, passed: u64, k: u64) -> f64 {
    let failed = drawn.saturating_sub(passed);
    if failed < k {
        return 1.0;
    }
    1.0 - (0..k).map(|taken| (failed - taken) as f64 / (drawn - taken) as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} {right}");
    }

    #[test]
    fn the_estimator_counts_choices() {
        close(some_pass(5, 0, 5), 0.0);
        close(some_pass(5, 2, 1), 0.4);
        // Of the ten pairs of five samples, three contain neither of the two that passed.
        close(some_pass(5, 2, 2), 0.7);
        close(some_pass(5, 2, 4), 1.0);
        close(some_pass(1, 1, 1), 1.0);
    }

    #[test]
    fn rows_with_too_few_samples_do_not_count() {
        let groups = [Group { drawn: 4, passed: 1, rows: 3 }, Group { drawn: 1, passed: 1, rows: 1 }];
        let first = expected(&groups, 1);
        assert_eq!((first.k, first.n), (1, 4));
        close(first.rate, (3.0 * 0.25 + 1.0) / 4.0);
        let second = expected(&groups, 2);
        assert_eq!(second.n, 3);
        close(second.rate, 0.5);
    }
}
