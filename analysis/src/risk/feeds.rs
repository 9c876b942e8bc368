//! Feeds and image scans, read from files.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde_json::Value;

use super::model::Scan;
use crate::files::{self, Csv, FileError, text};

/// The ids of a catalogue of exploited vulnerabilities: CISA's object, or a bare list.
pub fn kev(path: &Path) -> Result<BTreeSet<String>, FileError> {
    let value = files::json(path)?;
    let list = match &value {
        Value::Array(list) => list,
        other => other
            .get("vulnerabilities")
            .and_then(Value::as_array)
            .ok_or_else(|| FileError::shape(path, "is no catalogue of vulnerabilities"))?,
    };
    let id = |entry: &Value| text(entry, "cveID").or_else(|| text(entry, "cve_id")).map(str::to_owned);
    Ok(list.iter().filter_map(id).collect())
}

/// Scores by vulnerability: a CSV with the columns `cve` and `epss`, comments before its header skipped.
pub fn epss(path: &Path) -> Result<HashMap<String, f64>, FileError> {
    let csv = Csv::read(path)?;
    let column = |names: &[&str]| csv.column(names);
    let (Some(id), Some(score)) = (column(&["cve", "CVE", "cve_id"]), column(&["epss", "EPSS", "score"]))
    else {
        return Err(FileError::shape(path, "has no columns cve and epss"));
    };
    csv.rows
        .iter()
        .map(|row| {
            let cell = |place: usize| row.get(place).map(String::as_str).unwrap_or_default();
            match cell(score).parse::<f64>() {
                Ok(value) if (0.0..=1.0).contains(&value) => Ok((cell(id).to_owned(), value)),
                _ => Err(FileError::shape(path, format!("{:?} is no score from 0 to 1", cell(score)))),
            }
        })
        .collect()
}

/// The findings of a scanner: Trivy's `Results[].Vulnerabilities[]` or Grype's `matches[].vulnerability`.
pub fn scan(path: &Path) -> Result<Scan, FileError> {
    let value = files::json(path)?;
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned();
    let finding = |id: Option<&str>, severity: Option<&str>| {
        Some((id?.to_owned(), severity.unwrap_or_default().to_uppercase()))
    };
    if let Some(results) = list(&value, "Results") {
        let found = results
            .iter()
            .flat_map(|result| list(result, "Vulnerabilities").unwrap_or_default())
            .filter_map(|entry| finding(text(&entry, "VulnerabilityID"), text(&entry, "Severity")));
        return Ok(Scan { found: found.collect() });
    }
    let matches =
        list(&value, "matches").ok_or_else(|| FileError::shape(path, "is no scan of Trivy or Grype"))?;
    let found = matches.iter().filter_map(|entry| {
        let entry = entry.get("vulnerability")?;
        finding(text(entry, "id"), text(entry, "severity"))
    });
    Ok(Scan { found: found.collect() })
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
        assert_eq!(scan(&file(&dir, trivy)).unwrap(), scan(&file(&dir, grype)).unwrap());
        assert!(scan(&file(&dir, "{}")).is_err());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "as written")]
    fn feeds_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            epss(&file(&dir, "#model_version:v3\ncve,epss,percentile\nCVE-1,0.25,0.9\n")).unwrap()["CVE-1"],
            0.25
        );
        assert!(epss(&file(&dir, "cve,epss\nCVE-1,NaN\n")).is_err());
        assert!(epss(&file(&dir, "a,b\n1,2\n")).is_err());
        assert_eq!(kev(&file(&dir, r#"[{"cveID":"CVE-1"},{"cve_id":"CVE-2"},{}]"#)).unwrap().len(), 2);
        assert!(kev(&file(&dir, "{}")).is_err());
    }
}
