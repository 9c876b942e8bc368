//! The published schedules, comparison and sweeps.

use serde_json::Value;

use super::compare::Comparison;
use super::line::Found;
use crate::load::files;
use crate::paper::folder::{Reference, ReferenceError};
use crate::paper::inputs::joined;
use crate::schedule::{Grid, RiskEntries, Weights, compare, from_published, schedule, sweep};

pub(super) fn schedule_json(reference: &Reference) -> Result<Found, ReferenceError> {
    let risk = RiskEntries::parse(&reference.json("risk.json")?);
    let (verified, detections) =
        (reference.entries("smoke24_verified")?, reference.entries("smoke24_detections")?);
    let candidates = from_published(&verified, &detections, &risk, None);
    let ours = schedule(&candidates, &Weights::default());
    Ok(Found::new(Comparison::of(&ours, &reference.json("schedule.json")?)))
}

pub(super) fn compare_json(reference: &Reference) -> Result<Found, ReferenceError> {
    let ours = compare(&joined(reference)?, &Weights::default(), 50).value;
    let found = Found::new(Comparison::of(&ours, &reference.json("metrics_schedule_compare.json")?));
    Ok(found.note("reproduced from its inputs, which are three runs joined by number (F1, F2: see audit)"))
}

/// The published file comes from an earlier version: bandit entries only.
pub(super) fn sweep_json(reference: &Reference) -> Result<Found, ReferenceError> {
    let grid = Grid { explore: vec![0.0, 0.5, 1.0], ..Grid::default() };
    let ours = sweep(&joined(reference)?, &grid)
        .into_iter()
        .filter(|entry| files::text(entry, "mode") == Some("bandit"))
        .collect::<Value>();
    let found = Found::new(Comparison::of(&ours, &reference.json("metrics_schedule_sweep.json")?));
    Ok(found.note("all entries are equal but for their labels (F1, F2, F4: see audit)"))
}

pub(super) fn sweep_19(reference: &Reference) -> Result<Found, ReferenceError> {
    let verified = reference.entries("ablation19_verified")?;
    let name = "inputs/published/scheduler_sweep_19.json";
    other_sweep(reference, &verified, &verified, name)
}

pub(super) fn sweep_live(reference: &Reference) -> Result<Found, ReferenceError> {
    let file = |name| files::objects(&reference.run_file("supported", name));
    let name = "inputs/published/scheduler_sweep_live_1259.json.gz";
    other_sweep(reference, &file("verified")?, &file("detections")?, name)
}

fn other_sweep(
    reference: &Reference,
    verified: &[Value],
    detections: &[Value],
    name: &str,
) -> Result<Found, ReferenceError> {
    let risk = RiskEntries::parse(&files::json(&reference.input("sched830_risk"))?);
    let candidates = from_published(verified, detections, &risk, None);
    let ours: Value = sweep(&candidates, &Grid::default()).into_iter().collect();
    Ok(Found::new(Comparison::of(&ours, &reference.json(name)?)))
}
