//! Inputs of the paper's files that several checks and the audit share.

use serde_json::{Map, Value};

use super::calibration::{Calibration, Dataset, calibration};
use super::folder::{Files, PaperError, PaperFolder};
use crate::load::cases::{self, Case};
use crate::load::files::{self, Csv};
use crate::metrics::significance::Counted;
use crate::schedule::{Candidate, RiskEntries, from_paper};

/// A JSON object; an empty one for any other value.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Turns a problem into an error about the content of `what`.
pub(super) fn content(what: &str) -> impl Fn(String) -> PaperError {
    move |problem| PaperError::Content { what: what.to_owned(), problem }
}

/// The verdicts behind the paper's ablation.
pub(super) fn gate_details(r: &PaperFolder) -> Result<Vec<Case>, PaperError> {
    let verified = r.file("ablation/verifier_gate_details.json");
    let detections = r.detections_of("gate_details", Some(&verified), 0)?;
    let run = r.import("gate_details", &Files { detections, patches: None, verified: Some(verified) })?;
    Ok(cases::read(&run)?)
}

/// The counts behind the paper's table 4, typed by hand.
pub(super) fn counts(r: &PaperFolder) -> Result<Vec<Counted>, PaperError> {
    Counted::read(&Csv::read(&r.file("eval/table4_counts.csv"))?).map_err(content("eval/table4_counts.csv"))
}

/// The calibration of the paper's data sets.
pub(super) fn calibrated(r: &PaperFolder) -> Result<Calibration, PaperError> {
    let file = |name| files::objects(&r.run_file("supported", name));
    let datasets = [
        Dataset::from_paper("supported", &file("detections")?, &file("verified")?),
        Dataset::from_paper("rules5k", &r.entries("rules5k_detections")?, &r.entries("rules5k_verified")?),
    ];
    Ok(calibration(&object(r.json("policy_metrics.json")?), &datasets))
}

/// The queue of the paper's comparison and sweep: three runs joined by number.
pub(super) fn joined(paper: &PaperFolder) -> Result<Vec<Candidate>, PaperError> {
    let risk = RiskEntries::parse(&files::json(&paper.input("sched830_risk"))?);
    let (verified, detections) = (paper.entries("sched830_verified")?, paper.entries("sched830_detections")?);
    Ok(from_paper(&verified, &detections, &risk, None))
}
