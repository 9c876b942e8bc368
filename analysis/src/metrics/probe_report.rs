//! Summary of a probe of an endpoint: latency, rates, tokens.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::files::{number, text};
use crate::render::Figures;
use crate::render::chart::{Drawing, Ink, Line, lines};
use crate::stats::Sample;

/// The paper's summary, computed from the results of a probe. `wall_clock_sec` and `concurrency` are not in the results
/// and are copied from the summary in the file.
pub(crate) fn summary(probe: &Value) -> Value {
    let results: Vec<&Value> = probe.get("results").and_then(Value::as_array).into_iter().flatten().collect();
    let code = |result: &Value| result.get("status_code").and_then(Value::as_u64);
    let failed = |result: &&&Value| result.get("error").is_some_and(|error| !error.is_null());
    let latency: Sample = results.iter().filter_map(|result| number(result, "duration_sec")).collect();
    let tokens: Sample = results.iter().filter_map(|result| number(result, "usage_tokens")).collect();
    let mut codes: Map<String, Value> = Map::new();
    let mut seen: Vec<u64> = results.iter().filter_map(|result| code(result)).collect();
    seen.sort_unstable();
    for group in seen.chunk_by(|a, b| a == b) {
        if let Some(code) = group.first() {
            codes.insert(code.to_string(), json!(group.len()));
        }
    }
    let success = results
        .iter()
        .filter(|result| !failed(result) && code(result).is_some_and(|code| code < 400))
        .count();
    let given = |key: &str| probe.get("summary").and_then(|summary| summary.get(key)).cloned();
    json!({
        "total_requests": results.len(),
        "success": success,
        "failures": results.iter().filter(failed).count(),
        "status_counts": codes,
        "latency_sec": {
            "min": latency.min(), "median": latency.median(), "p90": latency.exclusive_p90(), "max": latency.max(),
        },
        "token_usage": {"min": tokens.min(), "median": tokens.median(), "max": tokens.max()},
        "wall_clock_sec": given("wall_clock_sec").unwrap_or(Value::Null),
        "concurrency": given("concurrency").unwrap_or(Value::Null),
    })
}

/// What became of the calls of a probe: a refusal because of a limit (429) is no failure.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcomes {
    passed: u64,
    refused: u64,
    failed: BTreeMap<String, u64>,
}

impl Outcomes {
    fn of(probe: &Value) -> Self {
        let mut counts = Self::default();
        for result in probe.get("results").and_then(Value::as_array).into_iter().flatten() {
            let status = result.get("status_code").and_then(Value::as_u64);
            let throttled = result.get("throttled").and_then(Value::as_bool);
            let error = text(result, "error");
            if throttled.unwrap_or(status == Some(429)) {
                counts.refused += 1;
            } else if error.is_none() && status.is_none_or(|status| status < 400) {
                counts.passed += 1;
            } else {
                let reason = match (status.filter(|status| *status >= 400), error) {
                    (Some(status), _) => format!("HTTP {status}"),
                    (None, Some(error)) => error.chars().take(MOST_OF_REASON).collect(),
                    (None, None) => "no reply".to_owned(),
                };
                *counts.failed.entry(reason).or_default() += 1;
            }
        }
        counts
    }
}

/// Most characters of the reason of a failure.
const MOST_OF_REASON: usize = 100;

/// A table with one line per probe, and one of failures by reason.
pub(crate) fn report(probes: &[(String, Value)]) -> Figures {
    let columns = [
        "in flight",
        "calls",
        "passed",
        "429",
        "failed",
        "median, s",
        "p90, s",
        "max, s",
        "calls/min",
        "tokens/min",
    ];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("probe", Align::Left)).chain(columns));
    let mut failures =
        Table::new([("probe", Align::Left), ("failed", Align::Right), ("reason", Align::Left)]);
    let mut entries = vec![];
    for (name, probe) in probes {
        let summary = summary(probe);
        let wall = number(&summary, "wall_clock_sec").filter(|wall| *wall > 0.0);
        let tokens: f64 = probe
            .get("results")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|result| number(result, "usage_tokens"))
            .sum();
        let per_minute = |what: f64| wall.map(|wall| what * 60.0 / wall);
        let requests = number(&summary, "total_requests").unwrap_or(0.0);
        let (rate, token_rate) = (per_minute(requests), per_minute(tokens));
        let seconds = |key: &str| {
            let latency = summary.get("latency_sec").and_then(|latency| number(latency, key));
            latency.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
        };
        let outcomes = Outcomes::of(probe);
        for (reason, count) in &outcomes.failed {
            failures.push([name.clone(), count.to_string(), reason.clone()]);
        }
        let failed: u64 = outcomes.failed.values().sum();
        let cell = |key: &str| summary.get(key).map(ToString::to_string).unwrap_or_default();
        let plain = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.1}"));
        table.push([
            name.clone(),
            cell("concurrency"),
            cell("total_requests"),
            outcomes.passed.to_string(),
            outcomes.refused.to_string(),
            failed.to_string(),
            seconds("median"),
            seconds("p90"),
            seconds("max"),
            plain(rate),
            plain(token_rate),
        ]);
        entries.push(json!({
            "probe": name, "summary": summary,
            "calls": {
                "passed": outcomes.passed, "refused": outcomes.refused, "failed": failed,
                "failed_by_reason": outcomes.failed,
            },
            "requests_per_minute": rate, "tokens_per_minute": token_rate,
        }));
    }
    let figures = Figures::new(Value::Array(entries)).with("Latency and rate by calls in flight", table);
    if failures.is_empty() { figures } else { figures.with("Failed calls by reason", failures) }
}

/// The percentiles of a step that are drawn, with their keys and colours.
const PERCENTILES: [(&str, Ink); 3] = [("median", Ink::Good), ("p90", Ink::Review), ("p99", Ink::Bad)];

/// Draws the latency over the calls in flight, from the steps of a probe; `None` if no step has answered calls.
pub(crate) fn chart(probe: &Value) -> Option<Drawing> {
    let steps = probe.get("steps")?.as_array()?;
    let of = |key: &str| -> Vec<(f64, f64)> {
        let point =
            |step: &Value| Some((number(step, "concurrency")?, number(step.get("latency_sec")?, key)?));
        steps.iter().filter_map(point).collect()
    };
    let drawn: Vec<Line> = PERCENTILES
        .iter()
        .map(|(name, ink)| Line { name: (*name).to_owned(), ink: *ink, points: of(name) })
        .collect();
    if drawn.iter().all(|line| line.points.is_empty()) {
        return None;
    }
    let knee = probe.get("knee").and_then(|knee| number(knee, "concurrency"));
    let model = text(probe, "model").unwrap_or("model");
    let title = format!("{model}: latency over calls in flight (n = {} steps)", steps.len());
    let axes = ("calls in flight (logarithmic)", "latency of answered calls, s");
    Some(lines(&title, axes, &drawn, knee.map(|at| (at, "knee"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_failure() {
        let probe = json!({"results": [
            {"status_code": 200, "error": null},
            {"status_code": 429, "error": "slow down", "throttled": true},
            {"status_code": 429, "error": "slow down"},
            {"status_code": 500, "error": "a"},
            {"status_code": null, "error": "timed out"},
        ]});
        let outcomes = Outcomes::of(&probe);
        assert_eq!((outcomes.passed, outcomes.refused), (1, 2));
        let failed: Vec<_> =
            outcomes.failed.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        assert_eq!(failed, [("HTTP 500", 1), ("timed out", 1)]);
        let shown = report(&[("p".to_owned(), probe)]);
        assert_eq!(shown.value[0]["calls"]["failed"], 2);
        assert_eq!(shown.value[0]["summary"]["failures"], 4, "the published key counts what has an error");
    }

    #[test]
    fn each_step_is_a_point_of_each_line() {
        let step = |concurrency: u32, seconds: f64| {
            json!({
                "concurrency": concurrency,
                "latency_sec": {"median": seconds, "p90": seconds * 2.0, "p99": seconds * 3.0},
            })
        };
        let steps = [step(4, 2.0), step(1, 0.5), step(2, 1.0), json!({"concurrency": 8, "latency_sec": {}})];
        let probe = json!({"model": "a < b", "steps": steps, "knee": {"concurrency": 2.0}});
        let svg = chart(&probe).unwrap().svg;
        assert_eq!(svg.matches("<circle").count(), 9, "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("knee") && !svg.contains("NaN"), "{svg}");
        for label in ["median", "p90", "p99"] {
            assert!(svg.contains(label), "{label} is missing: {svg}");
        }
        assert_eq!(chart(&json!({"steps": [], "model": "m"})), None);
        assert_eq!(chart(&json!({"results": []})), None);
    }
}
