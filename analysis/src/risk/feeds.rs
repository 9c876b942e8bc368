//! Readers of vulnerability feeds and image scans.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::model::Scan;
use crate::load::files::{self, Csv, FileError, text};

/// Provenance of a feed or scan; part of every output that used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the JSON output")]
pub(crate) struct Feed {
    /// `kev`, `epss`, or `scan of IMAGE`.
    pub(crate) feed: String,
    pub(crate) file: String,
    /// The date given in the file.
    pub(crate) date: Option<String>,
    /// Of the file, in hex.
    pub(crate) sha256: String,
    /// Number of vulnerabilities.
    pub(crate) entries: usize,
}

impl Feed {
    fn of(
        feed: impl Into<String>,
        path: &Path,
        date: Option<String>,
        entries: usize,
    ) -> Result<Self, FileError> {
        let bytes =
            std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        let sha256 = files::sha256(&bytes);
        Ok(Self { feed: feed.into(), file: path.display().to_string(), date, sha256, entries })
    }
}

/// The ids of a catalogue of known exploited vulnerabilities: CISA's JSON object, or a JSON list.
pub(crate) fn kev(path: &Path) -> Result<(BTreeSet<String>, Feed), FileError> {
    let value = files::json(path)?;
    let list = match &value {
        Value::Array(list) => list,
        other => other
            .get("vulnerabilities")
            .and_then(Value::as_array)
            .ok_or_else(|| FileError::shape(path, "is not a catalogue of vulnerabilities"))?,
    };
    let id = |entry: &Value| text(entry, "cveID").or_else(|| text(entry, "cve_id")).map(str::to_owned);
    let ids: BTreeSet<String> = list.iter().filter_map(id).collect();
    let date = text(&value, "dateReleased").or_else(|| text(&value, "catalogVersion")).map(str::to_owned);
    let feed = Feed::of("kev", path, date, ids.len())?;
    Ok((ids, feed))
}

/// EPSS scores by vulnerability, from a CSV file with the columns `cve` and `epss` and the date in a comment.
pub(crate) fn epss(path: &Path) -> Result<(HashMap<String, f64>, Feed), FileError> {
    let csv = Csv::read(path)?;
    let column = |names: &[&str]| csv.column(names);
    let (Some(id), Some(score)) = (column(&["cve", "CVE", "cve_id"]), column(&["epss", "EPSS", "score"]))
    else {
        return Err(FileError::shape(path, "has no columns cve and epss"));
    };
    let scores: HashMap<String, f64> = csv
        .rows
        .iter()
        .map(|row| {
            let cell = |place: usize| row.get(place).map(String::as_str).unwrap_or_default();
            match cell(score).parse::<f64>() {
                Ok(value) if (0.0..=1.0).contains(&value) => Ok((cell(id).to_owned(), value)),
                _ => Err(FileError::shape(path, format!("{:?} is not a score from 0 to 1", cell(score)))),
            }
        })
        .collect::<Result<_, FileError>>()?;
    let feed = Feed::of("epss", path, score_date(&files::bytes(path)?), scores.len())?;
    Ok((scores, feed))
}

/// The date in `#model_version:v2025.03.14,score_date:2025-10-06T00:00:00+0000`.
fn score_date(bytes: &[u8]) -> Option<String> {
    let first = bytes.split(|byte| *byte == b'\n').next()?;
    let comment = std::str::from_utf8(first).ok()?.strip_prefix('#')?;
    comment
        .split(',')
        .find_map(|part| part.trim().strip_prefix("score_date:"))
        .map(|date| date.trim().to_owned())
}

/// The vulnerabilities of an image: Trivy's `Results[].Vulnerabilities[]` or Grype's `matches[].vulnerability`.
pub(crate) fn scan(image: &str, path: &Path) -> Result<(Scan, Feed), FileError> {
    let value = files::json(path)?;
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned();
    let finding = |id: Option<&str>, severity: Option<&str>| {
        Some((id?.to_owned(), severity.unwrap_or_default().to_uppercase()))
    };
    let found: Vec<(String, String)> = if let Some(results) = list(&value, "Results") {
        results
            .iter()
            .flat_map(|result| list(result, "Vulnerabilities").unwrap_or_default())
            .filter_map(|entry| finding(text(&entry, "VulnerabilityID"), text(&entry, "Severity")))
            .collect()
    } else if let Some(matches) = list(&value, "matches") {
        let of = |entry: &Value| {
            let entry = entry.get("vulnerability")?;
            finding(text(entry, "id"), text(entry, "severity"))
        };
        matches.iter().filter_map(of).collect()
    } else {
        return Err(FileError::shape(path, "is not a scan by Trivy or Grype"));
    };
    let date = text(&value, "CreatedAt").or_else(|| value.pointer("/descriptor/timestamp")?.as_str());
    let feed = Feed::of(format!("scan of {image}"), path, date.map(str::to_owned), found.len())?;
    Ok((Scan { found }, feed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
        let path = dir.path().join("feed");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn both_scanners_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let trivy = r#"{"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-1","Severity":"HIGH"}]},{}]}"#;
        let grype = r#"{"matches":[{"vulnerability":{"id":"CVE-1","severity":"High"}},{}]}"#;
        let of = |text| scan("a:1", &file(&dir, text)).map(|(scan, feed)| (scan, feed.entries));
        assert_eq!(of(trivy).unwrap(), of(grype).unwrap());
        assert_eq!(of(trivy).unwrap().1, 1);
        assert!(of("{}").is_err());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "as written")]
    fn feeds_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "#model_version:v3,score_date:2025-10-06T00:00:00+0000\ncve,epss,percentile\nCVE-1,0.25,0.9\n";
        let (scores, feed) = epss(&file(&dir, text)).unwrap();
        assert_eq!(scores["CVE-1"], 0.25);
        assert_eq!((feed.date.as_deref(), feed.entries), (Some("2025-10-06T00:00:00+0000"), 1));
        assert_eq!(feed.sha256, files::sha256(text.as_bytes()));
        assert!(epss(&file(&dir, "cve,epss\nCVE-1,NaN\n")).is_err());
        assert!(epss(&file(&dir, "a,b\n1,2\n")).is_err());
        assert_eq!(kev(&file(&dir, r#"[{"cveID":"CVE-1"},{"cve_id":"CVE-2"},{}]"#)).unwrap().0.len(), 2);
        let catalogue = r#"{"dateReleased":"2025-10-06","vulnerabilities":[{"cveID":"CVE-1"}]}"#;
        assert_eq!(kev(&file(&dir, catalogue)).unwrap().1.date.as_deref(), Some("2025-10-06"));
        assert!(kev(&file(&dir, "{}")).is_err());
    }
}
