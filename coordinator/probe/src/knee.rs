//! Where more calls in flight stop paying: the knee of the latency over the concurrency.
//!
//! Throughput over latency (Kleinrock's *power*) grows as long as calls do not get in each other's way, and falls once
//! they wait for one another. Its summit is the knee.

/// One step of a probe.
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

/// Share of the summit that counts as the summit: measurements are noisy, and fewer calls in flight are worth something.
const SUMMIT: f64 = 0.95;

/// The knee among `points`, in the order of their concurrency; `None` when the summit may lie beyond the last one.
pub fn knee(points: &[Point]) -> Option<Point> {
    let (last, before) = points.split_last()?;
    let most = points.iter().map(Point::power).fold(0.0, f64::max);
    let found = before.iter().find(|point| point.power() >= SUMMIT * most)?;
    // On the way up a step may be lucky; it is a knee only where the last step is no better.
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
    fn the_knee_is_where_calls_begin_to_wait() {
        let steps = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        assert_eq!(knee(&points(16.0, 2.0, &steps)).map(|point| point.concurrency), Some(16.0));
        assert_eq!(knee(&points(1.0, 2.0, &steps)).map(|point| point.concurrency), Some(1.0));
    }

    #[test]
    fn what_was_not_reached_is_not_found() {
        assert_eq!(knee(&points(1000.0, 2.0, &[1.0, 2.0, 4.0])), None);
        assert_eq!(knee(&points(1000.0, 2.0, &[4.0])), None);
        assert_eq!(knee(&[]), None);
    }
}
