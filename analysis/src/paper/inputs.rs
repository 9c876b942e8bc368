//! Inputs of the published files that several checks and the audit share.

use serde_json::{Map, Value};

use super::calibration::{Calibration, Dataset, calibration};
use super::folder::{Files, Reference, ReferenceError};
use crate::load::cases::{self, Case};
use crate::load::files::{self, Csv};
use crate::metrics::significance::Counted;
use crate::schedule::{Candidate, RiskEntries, from_published};

/// A JSON object; an empty one for any other value.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// An error about the content of `what`.
pub(super) fn content(what: &str) -> impl Fn(String) -> ReferenceError {
    move |problem| ReferenceError::Content { what: what.to_owned(), problem }
}

/// The verdicts behind the published ablation.
pub(super) fn gate_details(r: &Reference) -> Result<Vec<Case>, ReferenceError> {
    let verified = r.file("ablation/verifier_gate_details.json");
    let detections = r.detections_of("gate_details", Some(&verified), 0)?;
    let run = r.import("gate_details", &Files { detections, patches: None, verified: Some(verified) })?;
    Ok(cases::read(&run)?)
}

/// The counts typed by hand.
pub(super) fn counts(r: &Reference) -> Result<Vec<Counted>, ReferenceError> {
    Counted::read(&Csv::read(&r.file("eval/table4_counts.csv"))?).map_err(content("eval/table4_counts.csv"))
}

/// The calibration of the published data sets.
pub(super) fn calibrated(r: &Reference) -> Result<Calibration, ReferenceError> {
    let file = |name| files::objects(&r.run_file("supported", name));
    let datasets = [
        Dataset::from_published("supported", &file("detections")?, &file("verified")?),
        Dataset::from_published(
            "rules5k",
            &r.entries("rules5k_detections")?,
            &r.entries("rules5k_verified")?,
        ),
    ];
    Ok(calibration(&object(r.json("policy_metrics.json")?), &datasets))
}

/// The queue of the published comparison and sweep: three runs joined by number.
pub(super) fn joined(reference: &Reference) -> Result<Vec<Candidate>, ReferenceError> {
    let risk = RiskEntries::parse(&files::json(&reference.input("sched830_risk"))?);
    let (verified, detections) =
        (reference.entries("sched830_verified")?, reference.entries("sched830_detections")?);
    Ok(from_published(&verified, &detections, &risk, None))
}
