//! The paper's robustness over versions. Its "simulated" form adds constants to one measured ratio.

use cli_support::output::{Align, Table};
use serde_json::{Value, json};

use crate::render::Figures;

/// The invented version pairs and the constants added to the ratio.
const INVENTED: [(&str, f64); 3] =
    [("k8s-1.27/kyverno-1.10", 0.0), ("k8s-1.28/kyverno-1.11", 0.03), ("k8s-1.29/kyverno-1.12", -0.015)];

/// A version, its risk reduction ratio and its residual risk.
pub(crate) type Version = (String, f64, f64);

/// The paper's constants applied to a calibrated data set.
pub(crate) fn simulated(ratio: f64, residual: f64) -> Vec<Version> {
    let of = |(name, delta): (&str, f64)| {
        ((*name).to_owned(), (ratio + delta).clamp(0.90, 0.999), residual * (1.0 - delta))
    };
    INVENTED.into_iter().map(of).collect()
}

/// A table with one line per version.
pub(crate) fn figures(versions: &[Version]) -> Figures {
    let columns = ["risk_reduction_ratio", "residual_risk"].map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("version", Align::Left)).chain(columns));
    let mut entries = vec![];
    for (version, ratio, residual) in versions {
        table.push([version.clone(), format!("{ratio:?}"), format!("{residual:?}")]);
        entries.push(json!({"version": version, "risk_reduction_ratio": ratio, "residual_risk": residual}));
    }
    Figures::new(Value::Array(entries)).with("Risk closed by version", table)
}
