//! Risk closed by runs, with the risk that a policy map gives each record.

use std::collections::{BTreeMap, HashMap};

use cli_support::output::{Align, Table};
use domain::policy::PolicyName;
use serde_json::{Map, Value, json};

use crate::load::cases::Case;
use crate::load::files::{number, text, truth};
use crate::render::Figures;
use crate::stats::round;

/// The policy and the verdict of a record; `None`: no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Canonical policy.
    pub(crate) policy: String,
    pub(crate) accepted: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dataset {
    pub(crate) label: String,
    pub(crate) records: Vec<Closed>,
}

impl Dataset {
    pub(crate) fn from_cases(label: &str, cases: &[Case]) -> Self {
        let records = cases
            .iter()
            .map(|case| Closed {
                policy: case.policy.to_string(),
                accepted: case.judged.then_some(case.accepted),
            })
            .collect();
        Self { label: label.to_owned(), records }
    }

    /// From detections and verdicts in the paper's format.
    pub(crate) fn from_paper(label: &str, detections: &[Value], verified: &[Value]) -> Self {
        let verdicts: HashMap<&str, bool> = verified
            .iter()
            .filter_map(|entry| Some((text(entry, "id")?, truth(entry, "accepted"))))
            .collect();
        let records = detections
            .iter()
            .map(|entry| Closed {
                policy: PolicyName::normalise(text(entry, "policy_id").unwrap_or_default())
                    .as_str()
                    .to_owned(),
                accepted: text(entry, "id").and_then(|id| verdicts.get(id)).copied(),
            })
            .collect();
        Self { label: label.to_owned(), records }
    }
}

/// The paper's three tables.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calibration {
    pub(crate) datasets: Table,
    pub(crate) policies: Table,
    /// `policies` as JSON.
    pub(crate) map: Value,
    /// By data set: the unrounded share of the risk that was closed, and the residual risk.
    pub(crate) ratios: Vec<(String, f64, f64)>,
    /// By data set: the number of records whose policy is not in the map; they count as risk 0.
    pub(crate) without_risk: Vec<(String, u64)>,
}

/// Calibrates data sets with a policy map (the paper's policy metrics).
pub(crate) fn calibration(map: &Map<String, Value>, datasets: &[Dataset]) -> Calibration {
    let of = |policy: &str, key: &str| map.get(policy).and_then(|entry| number(entry, key)).unwrap_or(0.0);
    let names = [
        "detections",
        "accepted",
        "rejected",
        "risk_total",
        "risk_resolved",
        "risk_residual",
        "risk_reduction_ratio",
        "delta_r_per_time_unit",
    ];
    let header = std::iter::once(("dataset", Align::Left)).chain(names.map(|name| (name, Align::Right)));
    let mut lines = Table::new(header);
    let (mut ratios, mut without_risk) = (vec![], vec![]);
    let mut counts: BTreeMap<&str, [u64; 3]> = map.keys().map(|policy| (policy.as_str(), [0; 3])).collect();
    for dataset in datasets {
        let (mut total, mut resolved, mut time, mut accepted, mut unknown) = (0.0, 0.0, 0.0, 0_u64, 0_u64);
        for record in &dataset.records {
            let risk = of(&record.policy, "risk");
            total += risk;
            unknown += u64::from(!map.contains_key(&record.policy));
            if record.accepted == Some(true) {
                accepted += 1;
                resolved += risk;
                time += of(&record.policy, "expected_time");
            }
            if let Some([seen, closed, open]) = counts.get_mut(record.policy.as_str()) {
                *seen += 1;
                *closed += u64::from(record.accepted == Some(true));
                *open += u64::from(record.accepted == Some(false));
            }
        }
        let ratio = if total > 0.0 { resolved / total } else { 0.0 };
        let per_time = if time > 0.0 { resolved / time } else { 0.0 };
        let n = dataset.records.len() as u64;
        lines.push([
            dataset.label.clone(),
            n.to_string(),
            accepted.to_string(),
            (n - accepted).to_string(),
            float(total),
            float(resolved),
            float(total - resolved),
            float(ratio),
            float(per_time),
        ]);
        ratios.push((dataset.label.clone(), ratio, total - resolved));
        without_risk.push((dataset.label.clone(), unknown));
    }
    let (policies, map) = by_policy(map, &counts);
    Calibration { datasets: lines, policies, map, ratios, without_risk }
}

fn by_policy(map: &Map<String, Value>, counts: &BTreeMap<&str, [u64; 3]>) -> (Table, Value) {
    let names = [
        "risk",
        "probability",
        "expected_time",
        "kev",
        "detections",
        "resolved",
        "residual",
        "resolution_rate",
    ];
    let header = std::iter::once(("policy_id", Align::Left)).chain(names.map(|name| (name, Align::Right)));
    let mut table = Table::new(header);
    let mut object = Map::new();
    for (policy, [seen, closed, open]) in counts {
        let Some(entry) = map.get(*policy) else { continue };
        let of = |key| number(entry, key).unwrap_or(0.0);
        let rate = if *seen == 0 { 0.0 } else { *closed as f64 / *seen as f64 };
        table.push([
            (*policy).to_owned(),
            float(of("risk")),
            float(of("probability")),
            float(of("expected_time")),
            u8::from(truth(entry, "kev")).to_string(),
            seen.to_string(),
            closed.to_string(),
            open.to_string(),
            float(rate),
        ]);
        object.insert(
            (*policy).to_owned(),
            json!({
                "policy_id": policy, "risk": of("risk"), "kev": truth(entry, "kev"), "probability": of("probability"),
                "expected_time": of("expected_time"), "detections": seen, "resolved": closed, "residual": open,
                "resolution_rate": rate,
            }),
        );
    }
    (table, Value::Object(object))
}

/// Rounded to four decimals and formatted like a float in Python.
fn float(x: f64) -> String {
    format!("{:?}", round(x, 4))
}

impl Calibration {
    pub(crate) fn figures(&self) -> Figures {
        let ratios: Map<String, Value> = self
            .ratios
            .iter()
            .map(|(label, ratio, left)| (label.clone(), json!({"ratio": ratio, "residual": left})))
            .collect();
        let missing: Map<String, Value> =
            self.without_risk.iter().map(|(label, n)| (label.clone(), json!(n))).collect();
        Figures::new(json!({"policies": self.map, "datasets": ratios, "records_without_risk": missing}))
            .with("Risk closed by data set", self.datasets.clone())
            .with("Risk closed by policy", self.policies.clone())
    }
}
