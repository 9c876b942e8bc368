//! Tokens and cost of the calls to a model.

use cli_support::output::{Align, Table};
use serde::Serialize;
use serde_json::{Value, json};

use crate::load::cases::Case;
use crate::load::files::number;
use crate::render::Figures;
use crate::stats::Sample;

/// Prices in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Prices {
    pub(crate) prompt: f64,
    /// Applies to reasoning tokens as well.
    pub(crate) completion: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tokens {
    pub(crate) by_model: u64,
    /// Those with reported usage.
    pub(crate) with_usage: u64,
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    /// Reasoning tokens as reported, else total − prompt − completion.
    pub(crate) reasoning: u64,
    pub(crate) total: u64,
    /// `total` over `with_usage`.
    pub(crate) mean_per_patch: Option<f64>,
    /// As reported in the rows.
    pub(crate) cost_usd: Option<f64>,
    /// Computed from the prices without reasoning, as in the paper.
    pub(crate) priced_without_reasoning: Option<f64>,
    /// Computed from the prices, with reasoning billed as completion.
    pub(crate) priced: Option<f64>,
}

/// Sums of tokens over the patches written by a model.
pub(crate) fn tokens(cases: &[Case], prices: Option<Prices>) -> Tokens {
    let by_model = || cases.iter().filter(|case| case.patch_ops.is_some() && case.source.as_ref() != "rules");
    let sum = |of: fn(&Case) -> Option<u64>| by_model().filter_map(of).sum::<u64>();
    let with_usage = by_model().filter(|case| case.tokens.total.is_some()).count() as u64;
    let (prompt, completion) = (sum(|case| case.tokens.prompt), sum(|case| case.tokens.completion));
    let total = sum(|case| case.tokens.total);
    let counted = sum(|case| case.tokens.reasoning);
    let reasoning = if counted > 0 { counted } else { total.saturating_sub(prompt + completion) };
    let cost: Sample = by_model().filter_map(|case| case.tokens.cost_usd).collect();
    let price = |answers: u64| {
        prices.map(|prices| (prompt as f64 * prices.prompt + answers as f64 * prices.completion) / 1e6)
    };
    Tokens {
        by_model: by_model().count() as u64,
        with_usage,
        prompt,
        completion,
        reasoning,
        total,
        mean_per_patch: (with_usage > 0).then(|| total as f64 / with_usage as f64),
        cost_usd: (!cost.is_empty()).then(|| cost.sum()),
        priced_without_reasoning: price(completion),
        priced: price(completion + reasoning),
    }
}

impl Tokens {
    pub(crate) fn figures(&self) -> Figures {
        let mut table = Table::new([("tokens", Align::Left), ("value", Align::Right)]);
        for (name, value) in [
            ("prompt", self.prompt),
            ("completion", self.completion),
            ("reasoning", self.reasoning),
            ("total", self.total),
        ] {
            table.push([name.to_owned(), value.to_string()]);
        }
        let mut real = |name: &str, value: Option<f64>, digits: usize| {
            table.push([
                name.to_owned(),
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}")),
            ]);
        };
        real("mean per patch", self.mean_per_patch, 1);
        real("cost in the rows, USD", self.cost_usd, 4);
        real("by price, reasoning left out, USD", self.priced_without_reasoning, 4);
        real("by price, reasoning billed, USD", self.priced, 4);
        let title =
            format!("Tokens (n = {} patches by a model, {} with usage)", self.by_model, self.with_usage);
        Figures::new(json!(self)).with(title, table)
    }
}

/// The paper's summary of telemetry records.
pub(crate) fn telemetry_summary(records: &[Value]) -> Value {
    let sum = |key: &str| records.iter().filter_map(|record| number(record, key)).sum::<f64>();
    let with_total = records.iter().filter(|record| number(record, "total_tokens").is_some()).count();
    let total = sum("total_tokens");
    let latencies: Sample = records.iter().filter_map(|record| number(record, "latency_ms")).collect();
    let mut summary = json!({"count": records.len()});
    if let (Value::Object(summary), false) = (&mut summary, latencies.is_empty()) {
        let latency =
            json!({"mean": latencies.mean(), "p95": latencies.linear(95.0), "max": latencies.max()});
        summary.insert("latency_ms".to_owned(), latency);
    }
    if let (Value::Object(summary), true) = (&mut summary, with_total > 0) {
        let tokens = json!({
            "prompt": sum("prompt_tokens"), "completion": sum("completion_tokens"), "total": total,
            "mean_per_patch": total / with_total as f64,
        });
        summary.insert("tokens".to_owned(), tokens);
    }
    summary
}
