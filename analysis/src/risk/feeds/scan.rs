//! Scans of images by Trivy and Grype.

use std::path::Path;

use serde_json::Value;

use super::{Feed, VulnerabilityId};
use crate::load::files::{self, FileError, text};
use crate::risk::image_ref::ImageRef;
use crate::risk::model::{Finding, Scan};

/// The vulnerabilities of an image. A scan without findings is a scan: the image is clean.
///
/// Read are reports of Trivy (`Results`, the bare list of its old versions, and the custom resource of its operator) and of
/// Grype (`matches`).
pub(crate) fn scan(image: &str, path: &Path) -> Result<(Scan, Feed), FileError> {
    let value = files::json(path)?;
    let (found, ignored) = if let Some(results) = trivy_results(&value) {
        findings(results.iter().flat_map(|result| list(result, "Vulnerabilities")), trivy_finding)
    } else if let Some(report) = value.get("report").filter(|report| report.get("vulnerabilities").is_some())
    {
        findings(list(report, "vulnerabilities"), operator_finding)
    } else if value.get("matches").is_some() {
        findings(list(&value, "matches"), grype_finding)
    } else {
        return Err(FileError::shape(path, "is not a scan of an image by Trivy or Grype, in JSON"));
    };
    if found.is_empty() && ignored > 0 {
        return Err(FileError::shape(path, format!("none of its {ignored} findings has an id")));
    }
    let date = ["/CreatedAt", "/descriptor/timestamp", "/report/updateTimestamp"]
        .iter()
        .find_map(|place| value.pointer(place)?.as_str());
    let feed = Feed::of(format!("scan of {image}"), path, date, (found.len(), ignored))?;
    let names = scanned_names(&value).chain([image.to_owned()]);
    Ok((Scan { images: names.filter_map(|name| ImageRef::parse(&name)).collect(), found }, feed))
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Trivy leaves `Results` out, or writes null, where there is nothing to report.
fn trivy_results(value: &Value) -> Option<Vec<&Value>> {
    if let Value::Array(results) = value {
        let result = |item: &Value| item.get("Target").is_some();
        return (!results.is_empty() && results.iter().all(result)).then(|| results.iter().collect());
    }
    let report = value.get("Results").is_some()
        || value.get("SchemaVersion").is_some() && value.get("ArtifactName").is_some();
    report.then(|| list(value, "Results").collect())
}

fn findings<'a>(
    entries: impl Iterator<Item = &'a Value>,
    finding: impl Fn(&Value) -> Option<Finding>,
) -> (Vec<Finding>, usize) {
    let mut ignored = 0;
    let found = entries
        .filter_map(|entry| {
            finding(entry).or_else(|| {
                ignored += 1;
                None
            })
        })
        .collect();
    (found, ignored)
}

fn finding<'a>(ids: impl Iterator<Item = &'a str>, severity: Option<&str>) -> Option<Finding> {
    let ids: Vec<VulnerabilityId> = ids.filter_map(VulnerabilityId::parse).collect();
    (!ids.is_empty()).then(|| Finding { ids, severity: severity.unwrap_or_default().to_uppercase() })
}

fn trivy_finding(entry: &Value) -> Option<Finding> {
    let others = list(entry, "VendorIDs").filter_map(Value::as_str);
    finding(text(entry, "VulnerabilityID").into_iter().chain(others), text(entry, "Severity"))
}

fn operator_finding(entry: &Value) -> Option<Finding> {
    finding(text(entry, "vulnerabilityID").into_iter(), text(entry, "severity"))
}

/// Grype reports advisories of GitHub, distributions and others; feeds know the CVE, which stands among the related ones.
fn grype_finding(entry: &Value) -> Option<Finding> {
    let own = entry.get("vulnerability")?;
    let related = list(entry, "relatedVulnerabilities").filter_map(|other| text(other, "id"));
    finding(text(own, "id").into_iter().chain(related), text(own, "severity"))
}

/// What the scanner says that it scanned: name, tags and digests.
fn scanned_names(value: &Value) -> impl Iterator<Item = String> {
    let places = [
        "/ArtifactName",
        "/Metadata/RepoTags",
        "/Metadata/RepoDigests",
        "/source/target/userInput",
        "/source/target/tags",
        "/source/target/repoDigests",
    ];
    let texts = |place: &Value| match place {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => vec![],
    };
    places.iter().filter_map(|place| value.pointer(place)).flat_map(texts).collect::<Vec<_>>().into_iter()
}
