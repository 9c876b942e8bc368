//! Summary of a probe of an endpoint: latency, rates, tokens.

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

/// A table with one line per probe.
pub(crate) fn report(probes: &[(String, Value)]) -> Figures {
    let columns =
        ["concurrency", "requests", "failed", "median, s", "p90, s", "max, s", "requests/min", "tokens/min"];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("probe", Align::Left)).chain(columns));
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
        let cell = |key: &str| summary.get(key).map(ToString::to_string).unwrap_or_default();
        let plain = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.1}"));
        table.push([
            name.clone(),
            cell("concurrency"),
            cell("total_requests"),
            cell("failures"),
            seconds("median"),
            seconds("p90"),
            seconds("max"),
            plain(rate),
            plain(token_rate),
        ]);
        entries.push(json!({
            "probe": name, "summary": summary, "requests_per_minute": rate, "tokens_per_minute": token_rate,
        }));
    }
    Figures::new(Value::Array(entries)).with("Latency and rate by concurrency", table)
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
