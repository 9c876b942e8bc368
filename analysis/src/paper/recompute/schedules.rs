//! The paper's schedules, comparison and sweeps.

use serde_json::Value;

use super::compare::Comparison;
use super::line::Found;
use crate::load::files;
use crate::paper::folder::{PaperError, PaperFolder};
use crate::paper::inputs::joined;
use crate::schedule::{Grid, RiskEntries, Weights, compare, from_paper, schedule, sweep};

pub(super) fn schedule_json(paper: &PaperFolder) -> Result<Found, PaperError> {
    let risk = RiskEntries::parse(&paper.json("risk.json")?);
    let (verified, detections) = (paper.entries("smoke24_verified")?, paper.entries("smoke24_detections")?);
    let candidates = from_paper(&verified, &detections, &risk, None);
    let ours = schedule(&candidates, &Weights::default());
    Ok(Found::new(Comparison::of(&ours, &paper.json("schedule.json")?)))
}

pub(super) fn compare_json(paper: &PaperFolder) -> Result<Found, PaperError> {
    let ours = compare(&joined(paper)?, &Weights::default(), 50).value;
    let found = Found::new(Comparison::of(&ours, &paper.json("metrics_schedule_compare.json")?));
    Ok(found.note("reproduced from its inputs, which are three runs joined by number (F1, F2: see audit)"))
}

/// This file was made by an earlier version of the paper's code, with bandit entries only.
pub(super) fn sweep_json(paper: &PaperFolder) -> Result<Found, PaperError> {
    let grid = Grid { explore: vec![0.0, 0.5, 1.0], ..Grid::default() };
    let ours = sweep(&joined(paper)?, &grid)
        .into_iter()
        .filter(|entry| files::text(entry, "mode") == Some("bandit"))
        .collect::<Value>();
    let found = Found::new(Comparison::of(&ours, &paper.json("metrics_schedule_sweep.json")?));
    Ok(found.note("all entries are equal but for their labels (F1, F2, F4: see audit)"))
}

pub(super) fn sweep_19(paper: &PaperFolder) -> Result<Found, PaperError> {
    let verified = paper.entries("ablation19_verified")?;
    let name = "inputs/published/scheduler_sweep_19.json";
    other_sweep(paper, &verified, &verified, name)
}

pub(super) fn sweep_live(paper: &PaperFolder) -> Result<Found, PaperError> {
    let file = |name| files::objects(&paper.run_file("supported", name));
    let name = "inputs/published/scheduler_sweep_live_1259.json.gz";
    other_sweep(paper, &file("verified")?, &file("detections")?, name)
}

fn other_sweep(
    paper: &PaperFolder,
    verified: &[Value],
    detections: &[Value],
    name: &str,
) -> Result<Found, PaperError> {
    let risk = RiskEntries::parse(&files::json(&paper.input("sched830_risk"))?);
    let candidates = from_paper(verified, detections, &risk, None);
    let ours: Value = sweep(&candidates, &Grid::default()).into_iter().collect();
    Ok(Found::new(Comparison::of(&ours, &paper.json(name)?)))
}
