//! Report of a probe as text, JSON and a configuration snippet.

use std::fmt::Write as _;

use cli_support::output::{Align, Table};
use cli_support::progress::duration;
use domain::budget::Price;
use serde_json::{Value, json};

use super::Findings;
use super::call::{Call, Ended};
use super::drive::Pace;
use super::findings::{InFlight, Known};
use super::knee::{Point, knee};
use super::outcomes::Outcomes;
use super::rate_limit::Estimate;
use super::stats::{Figures, summary, usage_tokens};

/// Columns of its table that a narrow terminal does without, the first to go first.
const LEAST: [&str; 9] =
    ["first 429 s", "max", "min s", "p95", "tokens/min", "p99", "p90", "sent/min", "in flight"];

/// Report of a probe.
#[derive(Debug, Clone)]
pub struct Report {
    found: Findings,
    steps: Vec<Figures>,
    knee: Option<Point>,
}

impl Report {
    /// Computes the figures of each step.
    pub fn new(found: Findings, price: &Price) -> Self {
        let steps: Vec<Figures> = found
            .steps
            .iter()
            .enumerate()
            .map(|(number, step)| Figures::of(number, step, &found.calls, price))
            .filter(|step| step.requests > 0)
            .collect();
        let planned = steps.iter().filter(|step| matches!(step.pace, Pace::InFlight(_)));
        let mut points: Vec<Point> = planned.filter_map(Figures::point).collect();
        points.sort_by(|a, b| a.concurrency.total_cmp(&b.concurrency));
        // Where calls are refused for a reason that is not known, steps compare refusals and not latencies.
        let is_compared = !matches!(found.verdict.in_flight, InFlight::Unknown(_));
        Self { knee: knee(&points).filter(|_| is_compared), found, steps }
    }

    /// The findings.
    pub const fn findings(&self) -> &Findings {
        &self.found
    }

    /// The report as JSON: `summary` and `results` in the published format, all else under further keys.
    pub fn json(&self) -> Value {
        let (found, verdict) = (&self.found, &self.found.verdict);
        json!({
            "summary": summary(found),
            "results": found.calls.iter().map(result).collect::<Vec<_>>(),
            "calls": Outcomes::of(&found.calls).json(),
            "endpoint": found.endpoint,
            "model": found.model,
            "stopped": found.stop.as_ref().map(ToString::to_string),
            "notes": found.notes,
            "cost_usd": found.cost,
            "steps": self.steps.iter().map(Figures::json).collect::<Vec<_>>(),
            "knee": self.knee.map(|knee| json!({
                "concurrency": knee.concurrency,
                "answers_per_minute": knee.throughput * 60.0,
                "latency_sec": knee.latency,
            })),
            "limits": {
                "requests_per_minute": known(&verdict.requests),
                "tokens_per_minute": known(&verdict.tokens),
                "concurrency": match verdict.in_flight {
                    InFlight::Found(found) => {
                        json!({"state": "found", "value": found.limit, "low": found.low, "high": found.high})
                    }
                    InFlight::AtLeast(most) => json!({"state": "at_least", "value": most}),
                    InFlight::Unknown(why) => json!({"state": "unknown", "reason": why.to_string()}),
                },
            },
            "slows": verdict.slows.map(|slows| json!({
                "answers_per_minute": slows.per_minute, "concurrency": slows.concurrency,
            })),
            "stated": {"requests": verdict.advertised.0, "tokens": verdict.advertised.1},
            "config": self.snippet(),
        })
    }

    /// Keys of the limits for a configuration file.
    pub fn snippet(&self) -> String {
        let verdict = &self.found.verdict;
        let mut text = "limits:\n".to_owned();
        let mut line = |key: &str, value: Option<f64>, why: &str| {
            let value = value.map_or_else(|| "auto".to_owned(), |value| format!("{:.0}", value.floor()));
            let _ = writeln!(text, "  {key}: {value}  # {why}");
        };
        for (key, known, advertised) in [
            ("requests_per_minute", &verdict.requests, verdict.advertised.0),
            ("tokens_per_minute", &verdict.tokens, verdict.advertised.1),
        ] {
            match known {
                Known::Found(found) => {
                    // An advertised limit that the measurement confirms is the exact one.
                    let exact = advertised.map(|limit| limit as f64).filter(|limit| agrees(*limit, found));
                    let why = if exact.is_some() {
                        "advertised by the provider, and measured"
                    } else {
                        "measured: lower end"
                    };
                    line(key, Some(exact.unwrap_or(found.low).max(1.0)), why);
                }
                Known::AtLeast(most) => line(key, None, &format!("no limit found up to {most:.0} a minute")),
                Known::Unknown(why) => line(key, None, &format!("not measured: {why}")),
            }
        }
        match (verdict.in_flight, verdict.slows, self.knee) {
            (InFlight::Found(found), ..) => line("concurrency", Some(found.low as f64), "measured"),
            (_, Some(slows), _) => {
                line(
                    "concurrency",
                    Some(slows.concurrency.max(1.0)),
                    "above that calls wait for one another",
                );
            }
            (_, _, Some(knee)) => {
                line("concurrency", Some(knee.concurrency), "the knee: above that answers get slower");
            }
            (InFlight::AtLeast(most), ..) => {
                line("concurrency", None, &format!("no limit found; {most} were in flight"));
            }
            (InFlight::Unknown(why), ..) => line("concurrency", None, &format!("not measured: {why}")),
        }
        text
    }

    /// The report as text.
    pub fn text(&self, width: Option<u16>) -> String {
        let (found, verdict) = (&self.found, &self.found.verdict);
        let (table, left_out) = self.table().fitted(width, &LEAST);
        let mut text = format!("{} at {}\n\n{}\n", found.model, found.endpoint, table.text(width));
        let mut say = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        if !left_out.is_empty() {
            say(format!("left out at this width, and in probe.json: {}\n", left_out.join(", ")));
        }
        say(format!("calls:           {}", Outcomes::of(&found.calls)));
        say(format!("calls a minute:  {}", limit_text(&verdict.requests, verdict.advertised.0)));
        say(format!("tokens a minute: {}", limit_text(&verdict.tokens, verdict.advertised.1)));
        say(format!(
            "calls in flight: {}",
            match verdict.in_flight {
                InFlight::Found(found) if found.low == found.high => format!("{} (measured)", found.limit),
                InFlight::Found(found) => {
                    format!("{} (measured; from {} to {})", found.limit, found.low, found.high)
                }
                InFlight::AtLeast(most) => format!("no limit found; {most} were in flight at a time"),
                InFlight::Unknown(why) => format!("not measured: {why}"),
            }
        ));
        if let Some(slows) = verdict.slows {
            say(format!(
                "no calls are refused: above {:.0} in flight they wait for one another, at {:.0} answers a minute",
                slows.concurrency, slows.per_minute
            ));
        }
        if let Some(knee) = self.knee {
            say(format!(
                "knee: {:.0} calls in flight ({:.0} answers a minute, median {:.2} s); more of them only add latency",
                knee.concurrency,
                knee.throughput * 60.0,
                knee.latency
            ));
        }
        for note in &found.notes {
            say(note.clone());
        }
        if let Some(stop) = &found.stop {
            say(format!("ended early: {stop}"));
        }
        say(format!("{} calls in {}, {:.4} USD", found.calls.len(), duration(found.seconds), found.cost));
        say(format!("\n{}", self.snippet()));
        text
    }

    fn table(&self) -> Table {
        let right = [
            "in flight",
            "sent/min",
            "calls",
            "429",
            "failed",
            "min s",
            "median",
            "p90",
            "p95",
            "p99",
            "max",
            "answers/min",
            "tokens/min",
            "first 429 s",
        ];
        let right = right.map(|name| (name, Align::Right));
        let mut table = Table::new(std::iter::once(("step", Align::Left)).chain(right));
        for step in &self.steps {
            let seconds =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let latency = &step.latency;
            table.push([
                step.purpose.to_owned(),
                format!("{:.*}", usize::from(matches!(step.pace, Pace::Rate(_))), step.concurrency),
                match step.pace {
                    Pace::Rate(rate) => format!("{:.0}", rate * 60.0),
                    Pace::InFlight(_) => "-".to_owned(),
                },
                step.requests.to_string(),
                step.refused.to_string(),
                step.failed.to_string(),
                seconds(latency.min()),
                seconds(latency.percentile(50)),
                seconds(latency.percentile(90)),
                seconds(latency.percentile(95)),
                seconds(latency.percentile(99)),
                seconds(latency.max()),
                format!("{:.1}", step.a_minute()),
                format!("{:.0}", step.tokens_a_minute()),
                seconds(step.first_429),
            ]);
        }
        table
    }
}

/// Whether the advertised limit agrees with the measured one.
fn agrees(advertised: f64, found: &Estimate) -> bool {
    (found.low.min(found.per_minute * 0.97)..=found.high.max(found.per_minute * 1.03)).contains(&advertised)
}

fn limit_text(known: &Known, advertised: Option<u64>) -> String {
    let measured = match known {
        Known::Found(found) => format!(
            "{:.0} (95 %: {:.0} to {:.0}; measured over {}{})",
            found.per_minute,
            found.low,
            found.high,
            duration(found.seconds),
            found.window.map_or_else(String::new, |window| format!(", counted in windows of {window:.0} s")),
        ),
        Known::AtLeast(most) => format!("no limit found up to {most:.0} (a whole minute without a refusal)"),
        Known::Unknown(why) => format!("not measured: {why}"),
    };
    match (advertised, known) {
        (Some(advertised), Known::Found(found)) if agrees(advertised as f64, found) => {
            format!("{measured}; the provider advertises {advertised}, which agrees")
        }
        (Some(advertised), Known::Found(_)) => {
            format!(
                "{measured}; the provider advertises {advertised}, which differs (or is for another period)"
            )
        }
        (Some(advertised), _) => format!("{measured}; the provider advertises {advertised}"),
        (None, _) => measured,
    }
}

fn known(known: &Known) -> Value {
    match known {
        Known::Found(found) => json!({
            "state": "found", "value": found.per_minute, "low": found.low, "high": found.high,
            "measured_units": found.units, "measured_sec": found.seconds, "window_sec": found.window,
        }),
        Known::AtLeast(most) => json!({"state": "at_least", "value": most}),
        Known::Unknown(why) => json!({"state": "unknown", "reason": why.to_string()}),
    }
}

fn result(call: &Call) -> Value {
    json!({
        "id": call.id,
        "duration_sec": call.took,
        "status_code": call.status,
        "usage_tokens": usage_tokens(&call.usage),
        "content": call.content,
        "error": call.error,
        "step": call.step,
        "sent_sec": call.sent,
        "throttled": matches!(call.ended, Ended::Throttled(_)),
        "retry_after_sec": call.retry_after,
        "prompt_tokens": call.usage.prompt,
        "completion_tokens": call.usage.completion,
        "reasoning_tokens": call.usage.reasoning,
    })
}
