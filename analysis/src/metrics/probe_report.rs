//! Summary of a probe of an endpoint: latency, rates, tokens.

use console::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::files::number;
use crate::render::Figures;
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
