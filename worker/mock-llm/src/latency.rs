//! Latency of the simulated provider: recorded, or by a formula.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A distribution of latency, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Latency {
    /// Constant.
    Fixed(f64),
    /// Log-normal.
    LogNormal {
        /// Median.
        median: f64,
        /// Standard deviation of the logarithm.
        spread: f64,
    },
    /// A time until the first token, and a time for each token.
    PerToken {
        /// Time until the first token.
        first: f64,
        /// Time for each token of the response.
        each: f64,
    },
    /// Calls wait in a queue for one of so many servers.
    Queue {
        /// Calls that are processed at the same time.
        servers: usize,
        /// Latency of a call without its wait.
        work: Box<Self>,
    },
    /// Recorded quantiles (share, seconds) in ascending order, linearly interpolated.
    Recorded(Vec<(f64, f64)>),
}

/// Why a latency cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "latency {0:?} is neither a time (2.7), lognormal:MEDIAN:SPREAD, tokens:FIRST:EACH, queue:N:(one of these) nor a \
     recorded file: {1}"
)]
pub struct BadLatency(String, String);

impl FromStr for Latency {
    type Err = BadLatency;

    fn from_str(text: &str) -> Result<Self, BadLatency> {
        let bad = |why: &str| BadLatency(text.chars().take(80).collect(), why.to_owned());
        let number = |text: &str| {
            let number = text.trim().trim_end_matches('s').parse::<f64>().ok();
            number
                .filter(|number| number.is_finite() && *number >= 0.0)
                .ok_or_else(|| bad("not a valid number of seconds"))
        };
        if let Some((servers, work)) = text.strip_prefix("queue:").and_then(|rest| rest.split_once(':')) {
            let servers = servers.parse().ok().filter(|servers| *servers > 0);
            let servers = servers.ok_or_else(|| bad("the number of calls must be at least 1"))?;
            if work.starts_with("queue:") {
                return Err(bad("a queue cannot contain a queue"));
            }
            return Ok(Self::Queue { servers, work: Box::new(work.parse()?) });
        }
        match text.split(':').collect::<Vec<_>>().as_slice() {
            [fixed] => Ok(Self::Fixed(number(fixed)?)),
            ["lognormal", median, spread] => {
                Ok(Self::LogNormal { median: number(median)?, spread: number(spread)? })
            }
            ["tokens", first, each] => Ok(Self::PerToken { first: number(first)?, each: number(each)? }),
            _ => Err(bad("unknown form")),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(seconds) => write!(f, "{seconds} s"),
            Self::LogNormal { median, spread } => write!(f, "log-normal, median {median} s, spread {spread}"),
            Self::PerToken { first, each } => write!(f, "{first} s and {each} s a token"),
            Self::Queue { servers, work } => write!(f, "{work}, {servers} at once and the others in a queue"),
            Self::Recorded(points) => write!(f, "recorded ({} points)", points.len()),
        }
    }
}

impl Latency {
    /// Reads a recording: a probe (`results[].duration_sec`), or a summary (`stat,value_ms`: min, p50 or median, p90,
    /// p95, p99, max).
    pub fn recorded(text: &str) -> Result<Self, BadLatency> {
        let bad = |why: &str| BadLatency("file".to_owned(), why.to_owned());
        let mut points = match serde_json::from_str::<Value>(text) {
            Ok(probe) => {
                let results = probe["results"].as_array().ok_or_else(|| bad("the probe has no results"))?;
                let mut times: Vec<f64> =
                    results.iter().filter_map(|row| row["duration_sec"].as_f64()).collect();
                times.sort_by(f64::total_cmp);
                let last = times.len().saturating_sub(1).max(1) as f64;
                times.iter().enumerate().map(|(at, time)| (at as f64 / last, *time)).collect()
            }
            Err(_) => summary(text),
        };
        points.retain(|(share, time)| share.is_finite() && time.is_finite() && *time >= 0.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if points.len() < 2 { Err(bad("it has fewer than two values")) } else { Ok(Self::Recorded(points)) }
    }

    /// Servers of the queue, if there is one.
    pub const fn servers(&self) -> Option<usize> {
        match self {
            Self::Queue { servers, .. } => Some(*servers),
            _ => None,
        }
    }

    /// The latency at quantile `share` (from 0 to below 1) for a response of `tokens`, without the wait in a queue.
    pub fn at(&self, share: f64, tokens: f64) -> f64 {
        match self {
            Self::Fixed(seconds) => *seconds,
            Self::LogNormal { median, spread } => median * (spread * normal(share)).exp(),
            Self::PerToken { first, each } => first + each * tokens,
            Self::Queue { work, .. } => work.at(share, tokens),
            Self::Recorded(points) => interpolate(points, share),
        }
    }
}

/// Queue in front of the servers: when each server will be free.
#[derive(Debug, Default)]
pub struct Queue(Vec<f64>);

impl Queue {
    /// Adds a call that takes `work` seconds; returns its wait for a server.
    pub fn wait(&mut self, now: f64, work: f64, servers: usize) -> f64 {
        self.0.retain(|done| *done > now);
        if self.0.len() < servers {
            self.0.push(now + work);
            return 0.0;
        }
        // Each entry is the end of a server's last call; the server that is free first takes this call.
        let first = self.0.iter_mut().min_by(|a, b| a.total_cmp(b));
        let Some(done) = first else { return 0.0 };
        let wait = *done - now;
        *done += work;
        wait
    }
}

fn summary(text: &str) -> Vec<(f64, f64)> {
    let row = |line: &str| {
        let (stat, value) = line.split_once(',')?;
        let value: f64 = value.trim().parse().ok()?;
        let share = ["min", "p50", "median", "p90", "p95", "p99", "max"].iter().position(|name| {
            let stat = stat.trim();
            stat.starts_with(name) && !stat.contains("verifier_schema")
        })?;
        Some(([0.0, 0.5, 0.5, 0.9, 0.95, 0.99, 1.0][share], value / 1000.0))
    };
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (share, time) in text.lines().skip(1).filter_map(row) {
        // A file may hold several measures; the first of each quantile counts.
        if points.iter().all(|(known, _)| (known - share).abs() > 1e-9) {
            points.push((share, time));
        }
    }
    points
}

fn interpolate(points: &[(f64, f64)], share: f64) -> f64 {
    let after = points.iter().position(|(at, _)| *at >= share);
    match (after, points.first(), points.last()) {
        (Some(0) | None, Some(first), Some(last)) => {
            if after.is_some() {
                first.1
            } else {
                last.1
            }
        }
        (Some(index), _, _) => {
            let (low, high) = (points[index - 1], points[index]);
            low.1 + (high.1 - low.1) * (share - low.0) / (high.0 - low.0).max(1e-9)
        }
        _ => 0.0,
    }
}

/// Quantile function of the normal distribution to three digits (Tukey's lambda).
fn normal(share: f64) -> f64 {
    let share = share.clamp(1e-6, 1.0 - 1e-6);
    (share.powf(0.1349) - (1.0 - share).powf(0.1349)) / 0.1975
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_read() {
        assert_eq!("2.7s".parse(), Ok(Latency::Fixed(2.7)));
        assert_eq!("lognormal:2.7:0.45".parse(), Ok(Latency::LogNormal { median: 2.7, spread: 0.45 }));
        assert_eq!("tokens:0.5:0.01".parse(), Ok(Latency::PerToken { first: 0.5, each: 0.01 }));
        let work = Box::new(Latency::LogNormal { median: 2.7, spread: 0.45 });
        assert_eq!("queue:32:lognormal:2.7:0.45".parse(), Ok(Latency::Queue { servers: 32, work }));
        for bad in [
            "",
            "soon",
            "-1",
            "lognormal:1",
            "tokens:a:b",
            "NaN",
            "queue:0:1",
            "queue:1",
            "queue:1:queue:1:1",
        ] {
            assert!(bad.parse::<Latency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_recording_is_interpolated() {
        let probe = r#"{"results": [{"duration_sec": 3.0}, {"duration_sec": 1.0}, {"duration_sec": 2.0}]}"#;
        let latency = Latency::recorded(probe).unwrap();
        for (share, expected) in [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.999, 2.998)] {
            assert!((latency.at(share, 0.0) - expected).abs() < 1e-9, "{share}");
        }
        let csv = "stat,value_ms\ncount,280\np50_total_latency,5095.5\np95_total_latency,16922.3\nmin,1915\nmax,41072\n";
        let latency = Latency::recorded(csv).unwrap();
        assert!((latency.at(0.5, 0.0) - 5.0955).abs() < 1e-9);
        assert!((latency.at(0.0, 0.0) - 1.915).abs() < 1e-9);
        assert!(Latency::recorded("{}").is_err());
    }

    #[test]
    fn more_calls_than_servers_wait_in_the_queue() {
        let mut queue = Queue::default();
        let waits: Vec<f64> = (0..6).map(|_| queue.wait(0.0, 2.0, 2)).collect();
        assert_eq!(waits, [0.0, 0.0, 2.0, 2.0, 4.0, 4.0]);
        assert!((queue.wait(5.0, 2.0, 2) - 1.0).abs() < 1e-9);
        assert!(queue.wait(50.0, 2.0, 2).abs() < 1e-9);
    }

    #[test]
    fn the_middle_of_a_log_normal_is_its_median() {
        let latency = Latency::LogNormal { median: 2.7, spread: 0.45 };
        assert!((latency.at(0.5, 0.0) - 2.7).abs() < 1e-9);
        assert!((latency.at(0.8413, 0.0) - 2.7 * 0.45_f64.exp()).abs() < 0.02);
    }
}
