//! Knee of latency over concurrency, above which more calls in flight only add latency.
//!
//! Throughput over latency (Kleinrock's *power*) grows as long as calls do not wait for one another, and falls once they
//! do. Its maximum is the knee.

/// Throughput and latency of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Calls in flight.
    pub concurrency: f64,
    /// Answers a second.
    pub throughput: f64,
    /// Median seconds of an answer.
    pub latency: f64,
}

impl Point {
    fn power(&self) -> f64 {
        if self.latency > 0.0 { self.throughput / self.latency } else { 0.0 }
    }
}

/// Share of the maximum that counts as the maximum: measurements are noisy, and fewer calls in flight are preferable.
const NEAR_MAXIMUM: f64 = 0.95;

/// The knee among `points`, in order of concurrency; `None` where the maximum may lie beyond the last one.
pub fn knee(points: &[Point]) -> Option<Point> {
    let (last, before) = points.split_last()?;
    let most = points.iter().map(Point::power).fold(0.0, f64::max);
    let found = before.iter().find(|point| point.power() >= NEAR_MAXIMUM * most)?;
    // An outlier on the way up is not a knee: the last step must not be better.
    (last.power() < most || last.throughput < 1.1 * found.throughput).then_some(*found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A provider that works on `servers` calls at once, each for `work` seconds.
    fn points(servers: f64, work: f64, steps: &[f64]) -> Vec<Point> {
        let at = |concurrency: f64| Point {
            concurrency,
            throughput: concurrency.min(servers) / work,
            latency: work * (concurrency / servers).max(1.0),
        };
        steps.iter().map(|concurrency| at(*concurrency)).collect()
    }

    #[test]
    fn the_knee_is_where_calls_start_to_wait() {
        let steps = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        assert_eq!(knee(&points(16.0, 2.0, &steps)).map(|point| point.concurrency), Some(16.0));
        assert_eq!(knee(&points(1.0, 2.0, &steps)).map(|point| point.concurrency), Some(1.0));
    }

    #[test]
    fn a_knee_beyond_the_last_step_is_not_found() {
        assert_eq!(knee(&points(1000.0, 2.0, &[1.0, 2.0, 4.0])), None);
        assert_eq!(knee(&points(1000.0, 2.0, &[4.0])), None);
        assert_eq!(knee(&[]), None);
    }
}
