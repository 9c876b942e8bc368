//! Escape matrix: what each regime of gates alone would have let through of what the full set refuses, over the same
//! repairs.
//!
//! *Denominator*: the repairs that were proposed, i.e. the rows on whose repair at least one gate ran. Records that need
//! review, have nothing to fix, could not be processed or got no proposal are not among them, as in the paper.
//! *Invariant*: the regimes are nested, so that escapes never increase from one to the next.

use std::collections::{BTreeMap, HashMap};

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::load::cases::{Case, Verdicts};
use crate::metrics::pairs::{Key, by_run, key};
use crate::render::{Figures, interval, percent};
use crate::stats::{Proportion, round};

type Gate = fn(&Verdicts) -> Option<bool>;

/// Gates whose failures are counted, under the paper's names.
const GATES: [(&str, Gate); 4] = [
    ("policy", |gates| gates.policy),
    ("schema", |gates| gates.schema),
    ("safety", |gates| gates.safety),
    ("rescan", |gates| gates.rescan),
];

/// A regime: its key in the paper's file, its gates, and its description.
struct Regime {
    key: &'static str,
    what: &'static str,
    gates: &'static [Gate],
}

/// The regimes, weakest first. All but the first need a patch that applies.
const REGIMES: [Regime; 4] = [
    Regime { key: "emitted", what: "no gate: every proposed repair is taken", gates: &[] },
    Regime { key: "policy_only", what: "the target policy holds", gates: &[|gates| gates.policy] },
    Regime {
        key: "admission_style",
        what: "the target policy holds and the schema is valid",
        gates: &[|gates| gates.policy, |gates| gates.schema],
    },
    Regime { key: "full_verifier", what: "every gate: policy, schema, safety, rescan", gates: &[] },
];

/// The last regime is the reference: what it lets through is by definition not an escape.
const FULL: &str = "full_verifier";

impl Regime {
    /// Whether this regime lets a repair through. A gate that did not run refuses nothing.
    fn passes(&self, case: &Case) -> bool {
        if self.key == FULL {
            return case.accepted;
        }
        let applies = self.gates.is_empty() || case.gates.apply != Some(false);
        applies && self.gates.iter().all(|gate| gate(&case.gates) != Some(false))
    }

    /// Whether a gate of the regime did not run, so that the regime's decision is not known.
    fn is_undecided(&self, case: &Case) -> bool {
        self.gates.iter().any(|gate| gate(&case.gates).is_none())
    }
}

/// Whether a repair was proposed: at least one gate ran on it.
pub(crate) fn is_emitted(case: &Case) -> bool {
    let Verdicts { schema_before: _, apply, policy, safety, schema, rescan } = case.gates;
    case.accepted || (case.judged && [apply, policy, safety, schema, rescan].iter().any(Option::is_some))
}

/// The matrix of each run. `common`: only records whose repair was proposed in every run, so that all runs are compared
/// on the same documents.
pub(crate) fn escapes(cases: &[Case], common: bool) -> Figures {
    let mut runs = by_run(cases);
    for cases in runs.values_mut() {
        cases.retain(|case| is_emitted(case));
    }
    if common {
        let mut seen: HashMap<Key<'_>, usize> = HashMap::new();
        for case in runs.values().flatten().copied() {
            *seen.entry(key(case)).or_default() += 1;
        }
        let number = runs.len();
        for cases in runs.values_mut() {
            cases.retain(|case| seen.get(&key(case)) == Some(&number));
        }
    }
    let columns = ["proposed", "let through", "escapes", "escape rate", "95 % interval", "undecided"];
    let left = [("run", Align::Left), ("regime", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns.map(|name| (name, Align::Right))));
    let datasets: Vec<Value> = runs.iter().map(|(run, cases)| dataset(run, cases, &mut table)).collect();
    let note = if common { ", records that every run proposed for" } else { "" };
    Figures::new(json!({"common": common, "datasets": datasets})).with(
        format!("What each regime lets through of what all gates refuse (% of proposed repairs{note})"),
        table,
    )
}

fn dataset(run: &str, cases: &[&Case], table: &mut Table) -> Value {
    let total = cases.len() as u64;
    let failures: Map<String, Value> = GATES
        .iter()
        .map(|(name, gate)| {
            let failed = cases.iter().filter(|case| gate(&case.gates) == Some(false)).count();
            ((*name).to_owned(), json!(failed))
        })
        .collect();
    let mut regimes = vec![];
    for regime in &REGIMES {
        let through: Vec<&&Case> = cases.iter().filter(|case| regime.passes(case)).collect();
        let escaped: Vec<&&Case> = through.iter().copied().filter(|case| !case.accepted).collect();
        let undecided = escaped.iter().filter(|case| regime.is_undecided(case)).count();
        let share = Proportion::new(escaped.len() as u64, total);
        table.push([
            run.to_owned(),
            regime.key.replace('_', " "),
            total.to_string(),
            through.len().to_string(),
            escaped.len().to_string(),
            percent(share.rate),
            interval(&share),
            undecided.to_string(),
        ]);
        regimes.push(json!({
            "key": regime.key,
            "accepted": through.len(),
            "escapes": escaped.len(),
            "escape_rate": round(share.rate.unwrap_or(0.0), 4),
            "extended": {
                "what": regime.what, "share": share, "undecided": undecided,
                "by_policy": by_policy(&escaped),
            },
        }));
    }
    json!({
        "dataset": run,
        "total": total,
        "full_accepted": cases.iter().filter(|case| case.accepted).count(),
        "gate_failures": failures,
        "regimes": regimes,
    })
}

/// Escapes by policy.
fn by_policy(escaped: &[&&Case]) -> BTreeMap<String, u64> {
    let mut policies: BTreeMap<String, u64> = BTreeMap::new();
    for case in escaped {
        *policies.entry(case.policy.to_string()).or_default() += 1;
    }
    policies
}
