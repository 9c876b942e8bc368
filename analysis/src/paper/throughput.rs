//! The paper's risk throughput of two orders. Both are equal by construction: they are totals of a whole queue.

use std::collections::HashMap;

use domain::policy::PolicyName;
use serde_json::{Map, Value, json};

use crate::load::files::{number, text, truth};
use crate::stats::round;

/// Risk table D of the paper's code.
const WEIGHTS: [(&str, f64); 8] = [
    ("run_as_non_root", 70.0),
    ("read_only_root_fs", 60.0),
    ("drop_capabilities", 65.0),
    ("drop_cap_sys_admin", 75.0),
    ("set_requests_limits", 40.0),
    ("enforce_seccomp", 55.0),
    ("no_host_path", 80.0),
    ("no_host_ports", 45.0),
];

/// Weight of a policy that is not in a map.
const DEFAULT: f64 = 40.0;

/// Additional weight of known exploited vulnerabilities.
const KEV: f64 = 10.0;

/// The three weight maps: baseline, tilted towards high risk, flat.
fn maps() -> [Map<String, Value>; 3] {
    let of = |weigh: &dyn Fn(f64) -> f64| {
        WEIGHTS.iter().map(|(policy, weight)| ((*policy).to_owned(), json!(weigh(*weight)))).collect()
    };
    let tilt = |weight: f64| round(if weight >= 60.0 { weight * 1.2 } else { weight * 0.9 }, 4);
    [of(&|weight| weight), of(&tilt), of(&|_| 50.0)]
}

/// The paper's figures: weights by **raw** policy id (which never match), rejected records count as closed, and one
/// second for times that were not measured. With `right`: canonical ids and accepted records only.
pub(crate) fn throughput(
    detections: &[Value],
    verified: &[Value],
    risk: &[Value],
    right: bool,
) -> Vec<Value> {
    let by_id = |entries: &[Value]| -> HashMap<String, Value> {
        entries.iter().filter_map(|entry| Some((text(entry, "id")?.to_owned(), entry.clone()))).collect()
    };
    let (verdicts, risks) = (by_id(verified), by_id(risk));
    let risk_of = |entry: &Value| {
        text(entry, "id").and_then(|id| risks.get(id)).and_then(|entry| number(entry, "risk")).unwrap_or(0.0)
    };
    let fifo: Vec<&Value> = detections.iter().collect();
    let mut scheduled = fifo.clone();
    scheduled.sort_by(|a, b| risk_of(b).total_cmp(&risk_of(a)));
    maps()
        .into_iter()
        .map(|weights| {
            let rate = |order: &[&Value]| {
                let (mut seconds, mut closed, mut exploited) = (0.0_f64, 0.0, 0.0);
                for entry in order {
                    let id = text(entry, "id").unwrap_or_default();
                    let verdict = verdicts.get(id);
                    let ms = ["verify_latency_ms", "latency_ms"].iter().find_map(|key| number(verdict?, key));
                    seconds += (ms.unwrap_or(1000.0) / 1000.0).max(1.0);
                    if right && !verdict.is_some_and(|verdict| truth(verdict, "accepted")) {
                        continue;
                    }
                    let raw = text(entry, "policy_id").unwrap_or_default().to_lowercase();
                    let key = if right { PolicyName::normalise(&raw).as_str().to_owned() } else { raw };
                    let kev = risks.get(id).is_some_and(|entry| truth(entry, "kev"));
                    closed += weights.get(&key).and_then(Value::as_f64).unwrap_or(DEFAULT);
                    closed += if kev { KEV } else { 0.0 };
                    exploited += f64::from(u8::from(kev));
                }
                let hours = (seconds / 3600.0).max(1e-6);
                (closed / hours, exploited / hours)
            };
            let ((risk_fifo, kev_fifo), (risk_sched, kev_sched)) = (rate(&fifo), rate(&scheduled));
            let factor = |sched: f64, fifo: f64| (fifo > 0.0).then(|| sched / fifo);
            json!({
                "n": detections.len(),
                "risk_per_hour_fifo": risk_fifo,
                "risk_per_hour_sched": risk_sched,
                "kev_per_hour_fifo": kev_fifo,
                "kev_per_hour_sched": kev_sched,
                "improvement_factor_risk": factor(risk_sched, risk_fifo),
                "improvement_factor_kev": factor(kev_sched, kev_fifo),
                "weights": weights,
            })
        })
        .collect()
}
