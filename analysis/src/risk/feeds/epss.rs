//! Scores of the Exploit Prediction Scoring System.

use std::collections::HashMap;
use std::path::Path;

use super::{Feed, VulnerabilityId, refuse_empty};
use crate::load::files::{self, Csv, FileError};

const EXPECTED: &str = "FIRST's CSV with the columns `cve` and `epss`, separated by commas";

/// Scores by vulnerability, from a CSV file with the columns `cve` and `epss` and the date in a comment.
pub(crate) fn epss(path: &Path) -> Result<(HashMap<VulnerabilityId, f64>, Feed), FileError> {
    let refuse = |problem: String| FileError::shape(path, format!("{problem}; expected: {EXPECTED}"));
    let bytes = files::bytes(path)?;
    if bytes.trim_ascii_start().first().is_some_and(|byte| b"{[".contains(byte)) {
        return Err(refuse("is JSON".to_owned()));
    }
    match bytes
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))
    {
        None => return Err(refuse("is empty".to_owned())),
        Some(header) if !header.contains(&b',') && header.iter().any(|byte| b";\t|".contains(byte)) => {
            return Err(refuse("is not separated by commas".to_owned()));
        }
        Some(_) => {}
    }
    let csv = Csv::read(path)?;
    let (Some(id), Some(score)) =
        (csv.column(&["cve", "cve_id", "cveID"]), csv.column(&["epss", "epss_score", "score"]))
    else {
        return Err(refuse(format!("has no columns cve and epss, but {:?}", csv.header.join(", "))));
    };
    let mut scores = HashMap::with_capacity(csv.rows.len());
    let mut ignored = 0;
    for row in &csv.rows {
        let cell = |place: usize| row.get(place).map(String::as_str).unwrap_or_default();
        let Some(id) = VulnerabilityId::cve(cell(id)) else {
            ignored += 1;
            continue;
        };
        match cell(score).parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => scores.insert(id, value),
            _ => return Err(refuse(format!("{:?} is not a score from 0 to 1", cell(score)))),
        };
    }
    let counted = (scores.len(), ignored);
    refuse_empty(path, counted, EXPECTED)?;
    let feed = Feed::of("epss", path, score_date(&bytes), counted)?;
    Ok((scores, feed))
}

/// The date in `#model_version:v2025.03.14,score_date:2025-10-06T00:00:00+0000`.
fn score_date(bytes: &[u8]) -> Option<&str> {
    let comment = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"#"))?;
    let comment = std::str::from_utf8(comment).ok()?;
    let mut parts = comment.split(',').map(|part| part.trim().trim_matches('"'));
    parts.find_map(|part| part.trim().strip_prefix("score_date:")).map(str::trim)
}
