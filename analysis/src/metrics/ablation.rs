//! Ablation of the gates: acceptance when the verdict of a gate is ignored.

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::cases::{Case, Verdicts};
use crate::render::{Figures, interval, percent};
use crate::stats::{Proportion, round};

type Gate = fn(&Verdicts) -> Option<bool>;

/// Gates under the paper's names; `kubectl` is the schema gate.
const GATES: [(&str, Gate); 4] = [
    ("policy", |gates| gates.policy),
    ("safety", |gates| gates.safety),
    ("kubectl", |gates| gates.schema),
    ("rescan", |gates| gates.rescan),
];

/// A set of gates whose verdicts are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// The gates, by the paper's names.
    pub(crate) disabled: Vec<String>,
}

impl Scenario {
    /// Reads `name:gate,gate`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, gates) = text.split_once(':').unwrap_or((text, ""));
        let disabled: Vec<String> =
            gates.split(',').map(str::trim).filter(|gate| !gate.is_empty()).map(str::to_owned).collect();
        match disabled.iter().find(|gate| GATES.iter().all(|(name, _)| name != *gate)) {
            Some(unknown) => Err(format!("unknown gate {unknown:?}: policy, safety, kubectl or rescan")),
            None => Ok(Self { name: name.trim().to_owned(), disabled }),
        }
    }

    /// The paper's scenarios: all gates, and one scenario without each gate.
    pub(crate) fn paper() -> Vec<Self> {
        let without = [("full", None), ("no_policy", Some("policy")), ("no_safety", Some("safety"))];
        let rest = [("no_schema", Some("kubectl")), ("no_rescan", Some("rescan"))];
        let scenario = |(name, gate): (&str, Option<&str>)| Self {
            name: name.to_owned(),
            disabled: gate.into_iter().map(str::to_owned).collect(),
        };
        without.into_iter().chain(rest).map(scenario).collect()
    }
}

/// The ablation over the judged records. A gate that did not run counts as passed, as in the paper's code;
/// `extended.not_run` counts these, because a scenario shows nothing about a gate that did not run.
pub(crate) fn ablation(cases: &[Case], scenarios: &[Scenario]) -> Figures {
    let judged: Vec<&Case> = cases.iter().filter(|case| case.judged).collect();
    let total = judged.len() as u64;
    let baseline = judged.iter().filter(|case| case.accepted).count() as u64;
    let rate = |accepted: u64| if total == 0 { 0.0 } else { round(accepted as f64 / total as f64, 6) };
    let failing = |gate: Gate| judged.iter().filter(|case| gate(&case.gates) == Some(false)).count() as u64;
    let mut table = Table::new(["accepted", "of", "share", "95 % interval", "escapes"].into_iter().fold(
        vec![("scenario", Align::Left)],
        |mut header, name| {
            header.push((name, Align::Right));
            header
        },
    ));
    let mut entries = vec![];
    for scenario in scenarios {
        let disabled = |gate: &str| scenario.disabled.iter().any(|name| name == gate);
        let passes =
            |case: &Case| GATES.iter().all(|(name, gate)| disabled(name) || gate(&case.gates) != Some(false));
        let accepted: Vec<&&Case> = judged.iter().filter(|case| passes(case)).collect();
        let escapes: Vec<&str> =
            accepted.iter().filter(|case| !case.accepted).map(|case| case.id.as_str()).collect();
        let states: Map<String, Value> = GATES
            .iter()
            .map(|(name, gate)| {
                let failing = if disabled(name) { 0 } else { failing(*gate) };
                ((*name).to_owned(), json!({"passing": total - failing, "failing": failing}))
            })
            .collect();
        let share = Proportion::new(accepted.len() as u64, total);
        table.push([
            scenario.name.clone(),
            accepted.len().to_string(),
            total.to_string(),
            percent(share.rate),
            interval(&share),
            escapes.len().to_string(),
        ]);
        entries.push(json!({
            "name": scenario.name,
            "disabled_gates": scenario.disabled,
            "total": total,
            "accepted": accepted.len(),
            "acceptance_rate": rate(accepted.len() as u64),
            "no_new_violations_rate": rate(baseline),
            "escapes": {"count": escapes.len(), "ids": escapes},
            "gate_states": states,
        }));
    }
    let per_gate = |count: &dyn Fn(Gate) -> u64| -> Map<String, Value> {
        GATES.iter().map(|(name, gate)| ((*name).to_owned(), json!(count(*gate)))).collect()
    };
    let value = json!({
        "total_patches": total,
        "baseline_accepted": baseline,
        "baseline_acceptance_rate": rate(baseline),
        "gate_failures": per_gate(&|gate| failing(gate)),
        "scenarios": entries,
        "extended": {
            "not_run": per_gate(&|gate| judged.iter().filter(|case| gate(&case.gates).is_none()).count() as u64),
        },
    });
    Figures::new(value).with(format!("Acceptance without a gate (n = {total} judged records)"), table)
}
