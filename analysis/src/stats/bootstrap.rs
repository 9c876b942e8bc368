//! Bootstrap intervals. The same seed gives the same interval on every machine.

use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Beta, Distribution as _};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::sample::Sample;

/// A two-sided interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The random generator of all figures. Its stream is fixed by its definition, not by the version of a library.
pub(crate) fn random(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// The 95 % percentile interval of a bootstrapped quantile `q` (0 to 1) of `sample`.
///
/// The k-th smallest of a resample of n values is the value at place ⌈n·U⌉, where U is the k-th smallest of n uniform
/// numbers and so has the distribution Beta(k, n + 1 − k): one draw replaces a resample. `None` for an empty sample.
pub(crate) fn quantile_interval(sample: &Sample, q: f64, draws: usize, seed: u64) -> Option<Interval> {
    let n = sample.len();
    if n == 0 || draws == 0 {
        return None;
    }
    let k = (q.clamp(0.0, 1.0) * (n - 1) as f64).round() + 1.0;
    let beta = Beta::new(k, n as f64 + 1.0 - k).ok()?;
    let mut random = random(seed);
    let resampled: Sample = (0..draws)
        .filter_map(|_| {
            let place = (beta.sample(&mut random) * n as f64).ceil() - 1.0;
            sample.values().get(place_of(place).min(n - 1)).copied()
        })
        .collect();
    ends(&resampled)
}

/// The 95 % interval of accepted ÷ all that resamples whole clusters (documents), because records of one document are
/// not independent. A cluster is (accepted, all).
pub(crate) fn accepted_by_cluster(clusters: &[(u64, u64)], draws: usize, seed: u64) -> Option<Interval> {
    if clusters.is_empty() {
        return None;
    }
    let mut random = random(seed);
    let rates: Sample = (0..draws)
        .map(|_| {
            let (mut accepted, mut all) = (0_u64, 0_u64);
            for _ in 0..clusters.len() {
                if let Some((a, n)) = clusters.get(random.random_range(0..clusters.len())) {
                    accepted += a;
                    all += n;
                }
            }
            accepted as f64 / all as f64
        })
        .collect();
    ends(&rates)
}

fn ends(resampled: &Sample) -> Option<Interval> {
    Some(Interval { low: resampled.linear(2.5)?, high: resampled.linear(97.5)? })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list: small and not negative"
)]
fn place_of(x: f64) -> usize {
    x.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        let sample: Sample = (0..1000).map(f64::from).collect();
        let a = quantile_interval(&sample, 0.5, 500, 1).unwrap();
        assert_eq!(quantile_interval(&sample, 0.5, 500, 1), Some(a));
        assert_ne!(quantile_interval(&sample, 0.5, 500, 2), Some(a));
        assert_eq!(quantile_interval(&Sample::default(), 0.5, 500, 1), None);
    }

    #[test]
    fn one_draw_stands_for_a_resample() {
        // The same interval by resampling.
        let sample: Sample = (0..101).map(|i| f64::from(i * i)).collect();
        let mut random = random(3);
        let medians: Sample = (0..4000)
            .map(|_| {
                let again: Sample = (0..101).map(|_| sample.values()[random.random_range(0..101)]).collect();
                again.median().unwrap()
            })
            .collect();
        let slow = ends(&medians).unwrap();
        let quick = quantile_interval(&sample, 0.5, 4000, 3).unwrap();
        assert!((quick.low / slow.low - 1.0).abs() < 0.05, "{quick:?} {slow:?}");
        assert!((quick.high / slow.high - 1.0).abs() < 0.05, "{quick:?} {slow:?}");
    }

    #[test]
    fn clusters_widen_the_interval() {
        let single: Vec<(u64, u64)> = (0..1000).map(|i| (u64::from(i % 10 != 0), 1)).collect();
        let grouped: Vec<(u64, u64)> =
            (0..100).map(|i| if i % 10 == 0 { (0, 10) } else { (10, 10) }).collect();
        let (a, b) =
            (accepted_by_cluster(&single, 400, 1).unwrap(), accepted_by_cluster(&grouped, 400, 1).unwrap());
        assert!(b.high - b.low > 2.0 * (a.high - a.low), "{a:?} {b:?}");
        assert!(a.low < 0.9 && 0.9 < a.high);
    }
}
