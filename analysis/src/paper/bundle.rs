//! The published bundle: a summary of data sets as JSON, Markdown and LaTeX.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::files::number;
use crate::render::latex::escape;
use crate::stats::{Sample, round};

/// What the bundle says of a data set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) dataset: String,
    pub(crate) mode: String,
    /// What to know about it.
    pub(crate) note: String,
    pub(crate) metrics: Value,
    /// The patches; their latencies are read only where `patches_readable`.
    pub(crate) patches: Vec<Value>,
    /// The verdicts, where they are at hand.
    pub(crate) verified: Vec<Value>,
    /// Where the metrics, patches and verdicts lie.
    pub(crate) sources: [String; 3],
}

/// The seed of every published row.
const SEED: u64 = 1337;

/// The published summary: latencies in ms (linear percentiles, 2 decimals), tokens of the patches.
pub(crate) fn summary(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|row| {
            let of = |key: &str| row.metrics.get(key).cloned().unwrap_or(Value::Null);
            let [metrics, patches, verified] = &row.sources;
            json!({
                "dataset": row.dataset, "mode": row.mode, "seed": SEED, "note": row.note,
                "total": of("detections"), "accepted": of("accepted"), "acceptance_rate": of("auto_fix_rate"),
                "median_patch_ops": of("median_patch_ops"),
                "proposer_latency_ms": latency(&row.patches, &["total_latency_ms", "latency_ms"]),
                "verify_latency_ms":
                    latency(&row.verified, &["total_latency_ms", "latency_ms", "verify_latency_ms"]),
                "token_usage": tokens(&row.patches),
                "sources": {"metrics": metrics, "patches": patches, "verified": verified},
            })
        })
        .collect()
}

fn latency(entries: &[Value], keys: &[&str]) -> Value {
    let sample: Sample =
        entries.iter().filter_map(|entry| keys.iter().find_map(|key| number(entry, key))).collect();
    let figure = |x: Option<f64>| x.map(|x| round(x, 2));
    json!({"count": sample.len(), "median_ms": figure(sample.median()), "p95_ms": figure(sample.linear(95.0))})
}

fn tokens(patches: &[Value]) -> Value {
    let usages: Vec<&Value> =
        patches.iter().filter_map(|patch| patch.get("model_usage")).filter(|u| u.is_object()).collect();
    let sum = |key: &str| usages.iter().filter_map(|usage| number(usage, key)).sum::<f64>();
    if usages.is_empty() {
        return Value::Null;
    }
    let total = sum("total_tokens");
    json!({
        "prompt": sum("prompt_tokens"), "completion": sum("completion_tokens"), "total": total,
        "mean_per_patch": total / usages.len() as f64,
    })
}

fn acceptance(row: &Value) -> String {
    let (accepted, total) = (number(row, "accepted").unwrap_or(0.0), number(row, "total").unwrap_or(0.0));
    let rate = if total > 0.0 { accepted / total * 100.0 } else { 0.0 };
    format!("{accepted}/{total} ({rate:.2}%)")
}

fn ms(row: &Value, stage: &str, figure: &str) -> String {
    let value = row.get(stage).and_then(|stage| number(stage, figure));
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.2}"))
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    crate::load::files::text(row, key).unwrap_or_default()
}

/// The published Markdown page.
pub(crate) fn markdown(summary: &[Value]) -> String {
    let mut page = String::from(
        "# Reproducibility Report\n\n\
         Regenerated via `make reproducible-report`. Each row references the JSON artifacts that back the published metrics.\n\n\
         ## Dataset Summary\n\n\
         | Dataset | Mode | Seed | Acceptance | Median proposer (ms) | Median verifier (ms) | Verifier P95 (ms) | Token usage (prompt / completion) | Artifacts |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in summary {
        let tokens = row.get("token_usage").filter(|usage| usage.is_object()).map_or_else(
            || "n/a".to_owned(),
            |usage| {
                let of = |key| thousands(number(usage, key).unwrap_or(0.0));
                format!("{} / {}", of("prompt"), of("completion"))
            },
        );
        let sources = row.get("sources");
        let artifacts: Vec<String> = ["metrics", "patches", "verified"]
            .iter()
            .filter_map(|key| sources?.get(key)?.as_str())
            .map(|path| format!("`{path}`"))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {SEED} | {} | {} | {} | {} | {tokens} | {} |",
            word(row, "dataset"),
            word(row, "mode"),
            acceptance(row),
            ms(row, "proposer_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "p95_ms"),
            artifacts.join("<br/>"),
        );
    }
    page.push_str(
        "\n## Artifact Map\n\n\
         - `data/eval/unified_eval_summary.json` – machine-readable summary consumed by the README and paper tables.\n\
         - `docs/reproducibility/tables.tex` – LaTeX snippet mirroring Table~\\ref{tab:eval_summary}.\n\
         - `docs/reproducibility/report.md` (this file) – human-readable summary linking metrics to artifacts.\n",
    );
    page
}

/// The published LaTeX table.
pub(crate) fn latex(summary: &[Value]) -> String {
    let mut page = String::from(
        "\\begin{tabularx}{\\textwidth}{@{}l c c c c c X@{}}\n\\toprule\n\
         \\textbf{Corpus (mode)} & \\textbf{Seed} & \\textbf{Acceptance} & \\textbf{Median proposer (ms)} & \
         \\textbf{Median verifier (ms)} & \\textbf{Verifier P95 (ms)} & \\textbf{Notes} \\\\\n\\midrule\n",
    );
    for row in summary {
        let _ = writeln!(
            page,
            "{} ({}) & {SEED} & {} & {} & {} & {} & {} \\\\",
            escape(word(row, "dataset")),
            escape(word(row, "mode")),
            escape(&acceptance(row)),
            ms(row, "proposer_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "p95_ms"),
            escape(word(row, "note")),
        );
    }
    page.push_str("\\bottomrule\n\\end{tabularx}\n");
    page
}

fn thousands(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        assert_eq!(thousands(4_376_199.0), "4,376,199");
        assert_eq!(thousands(689_779.0), "689,779");
        assert_eq!(thousands(7.0), "7");
    }
}
