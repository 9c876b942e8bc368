//! Mean and standard deviation of acceptance over seeds.

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::files::number;
use crate::render::Figures;

/// Mean and sample standard deviation (n − 1; 0 for one sample) of each corpus, in the paper's format.
pub(crate) fn multi_seed(corpora: &Map<String, Value>) -> Figures {
    let columns = ["mean_acceptance", "std_acceptance", "samples"].map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("corpus", Align::Left)).chain(columns));
    let mut entries = vec![];
    for (corpus, seeds) in corpora {
        let values: Vec<f64> = seeds
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, value)| value.as_f64().or_else(|| number(value, "acceptance")))
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        table.push([corpus.clone(), mean.to_string(), deviation.to_string(), values.len().to_string()]);
        entries.push(json!({
            "corpus": corpus, "mean_acceptance": mean, "std_acceptance": deviation, "samples": values.len(),
        }));
    }
    Figures::new(Value::Array(entries)).with("Acceptance over seeds", table)
}
