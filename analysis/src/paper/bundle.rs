//! The paper's bundle: a summary of data sets as JSON, Markdown and LaTeX.

use serde_json::{Value, json};

use crate::load::files::number;
use crate::render::latex::{escape, row as latex_row};
use crate::render::markdown::row as markdown_row;
use crate::render::thousands;
use crate::stats::{Sample, round};

/// A data set of the bundle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) dataset: String,
    pub(crate) mode: String,
    pub(crate) note: String,
    pub(crate) metrics: Value,
    /// Empty where the paper's code could not read the patches.
    pub(crate) patches: Vec<Value>,
    /// Empty where the verdicts were not published.
    pub(crate) verified: Vec<Value>,
    /// Paths of the metrics, patches and verdicts.
    pub(crate) sources: [String; 3],
}

/// The seed of every row.
const SEED: u64 = 1337;

/// The JSON summary: latencies in ms (linear percentiles, 2 decimals) and tokens of the patches.
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

/// A count that the paper's code may have written as a float.
fn count(value: &Value, key: &str) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of tokens")]
    number(value, key).map_or(0, |count| count.round() as u64)
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

/// The Markdown page.
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
                let of = |key| thousands(count(usage, key));
                format!("{} / {}", of("prompt"), of("completion"))
            },
        );
        let sources = row.get("sources");
        let artifacts: Vec<String> = ["metrics", "patches", "verified"]
            .iter()
            .filter_map(|key| sources?.get(key)?.as_str())
            .map(|path| format!("`{path}`"))
            .collect();
        let cells = [
            word(row, "dataset").to_owned(),
            word(row, "mode").to_owned(),
            SEED.to_string(),
            acceptance(row),
            ms(row, "proposer_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "p95_ms"),
            tokens,
            artifacts.join("<br/>"),
        ];
        markdown_row(&mut page, cells);
    }
    page.push_str(
        "\n## Artifact Map\n\n\
         - `data/eval/unified_eval_summary.json` – machine-readable summary consumed by the README and paper tables.\n\
         - `docs/reproducibility/tables.tex` – LaTeX snippet mirroring Table~\\ref{tab:eval_summary}.\n\
         - `docs/reproducibility/report.md` (this file) – human-readable summary linking metrics to artifacts.\n",
    );
    page
}

/// The LaTeX table.
pub(crate) fn latex(summary: &[Value]) -> String {
    let mut page = String::from(
        "\\begin{tabularx}{\\textwidth}{@{}l c c c c c X@{}}\n\\toprule\n\
         \\textbf{Corpus (mode)} & \\textbf{Seed} & \\textbf{Acceptance} & \\textbf{Median proposer (ms)} & \
         \\textbf{Median verifier (ms)} & \\textbf{Verifier P95 (ms)} & \\textbf{Notes} \\\\\n\\midrule\n",
    );
    for row in summary {
        let cells = [
            format!("{} ({})", word(row, "dataset"), word(row, "mode")),
            SEED.to_string(),
            acceptance(row),
            ms(row, "proposer_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "median_ms"),
            ms(row, "verify_latency_ms", "p95_ms"),
            word(row, "note").to_owned(),
        ];
        latex_row(&mut page, cells.map(|cell| escape(&cell)));
    }
    page.push_str("\\bottomrule\n\\end{tabularx}\n");
    page
}
