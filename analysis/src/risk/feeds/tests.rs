use std::collections::HashMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::risk::Feeds;

fn file(dir: &tempfile::TempDir, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join("feed");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    writer.finish().unwrap()
}

fn id(text: &str) -> VulnerabilityId {
    VulnerabilityId::parse(text).unwrap()
}

#[test]
fn every_form_of_the_catalogue_gives_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    let entries = |name: &str| json!([{name: "CVE-2021-44228"}, {name: " cve-2019-0708 "}]);
    let forms: Vec<(&str, Vec<u8>)> = vec![
        (
            "CISA",
            json!({"dateReleased": "2025-10-06", "vulnerabilities": entries("cveID")}).to_string().into(),
        ),
        ("list", entries("cve_id").to_string().into()),
        ("cveId", entries("cveId").to_string().into()),
        ("ids", json!(["CVE-2021-44228", "cve-2019-0708"]).to_string().into()),
        ("VulnCheck", json!({"data": [{"cve": ["CVE-2021-44228", "CVE-2019-0708"]}]}).to_string().into()),
        ("BOM", format!("\u{feff}{}", entries("cveID")).into()),
        ("gz", packed(entries("cveID").to_string().as_bytes())),
        ("CSV", "cveID,vendorProject\r\nCVE-2021-44228,Apache\r\nCVE-2019-0708,Microsoft\r\n".into()),
    ];
    for (form, bytes) in forms {
        let (ids, feed) = kev(&file(&dir, bytes)).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(ids, [id("CVE-2019-0708"), id("CVE-2021-44228")].into(), "{form}");
        assert_eq!((feed.entries, feed.ignored), (2, 0), "{form}");
    }
    let some = json!([{"cveID": "CVE-1"}, {"name": "x"}, 7]).to_string();
    let (_, feed) = kev(&file(&dir, some)).unwrap();
    assert_eq!((feed.entries, feed.ignored), (1, 2), "what is ignored is counted");
}

#[test]
fn a_catalogue_that_is_not_understood_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("", "is not a catalogue"),
        ("{}", "is not a catalogue"),
        ("[]", "an empty feed"),
        (r#"{"vulnerabilities":[]}"#, "an empty feed"),
        (r#"[{"id":"CVE-1"},{"id":"CVE-2"}]"#, "none of its 2 entries"),
        (r#"["GHSA-1"]"#, "none of its 1 entries"),
        ("a,b\n1,2\n", "is not a catalogue"),
        ("cveID,b\n", "an empty feed"),
        ("[{", "not valid JSON"),
    ] {
        let error = kev(&file(&dir, text)).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn every_form_of_the_scores_gives_the_same_scores() {
    let dir = tempfile::tempdir().unwrap();
    let comment = "#model_version:v2025.03.14,score_date:2025-10-06T00:00:00+0000\n";
    let plain = "cve,epss,percentile\nCVE-2021-44228,0.94358,0.99\nCVE-2019-0708,0.5,0.9\n";
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("plain", plain.into()),
        ("comment", format!("{comment}{plain}").into()),
        ("BOM and comment", format!("\u{feff}{comment}{plain}").into()),
        ("gz", packed(format!("{comment}{plain}").as_bytes())),
        ("CRLF", plain.replace('\n', "\r\n").into()),
        ("upper-case header", plain.replace("cve,epss", "CVE,EPSS").into()),
        ("lower-case ids", plain.replace("CVE-", "cve-").into()),
        ("blanks", plain.replace(',', ", ").into()),
        ("quoted", plain.replace("0.94358", "\"0.94358\"").into()),
        ("exponent", plain.replace("0.94358", "9.4358e-1").into()),
        ("blank lines", format!("{plain}\n\n").into()),
        ("other order", "percentile,epss,cve\n0.9,0.94358,CVE-2021-44228\n0.9,0.5,CVE-2019-0708\n".into()),
    ];
    for (form, bytes) in forms {
        let (scores, feed) = epss(&file(&dir, bytes)).unwrap_or_else(|error| panic!("{form}: {error}"));
        let expected = HashMap::from([(id("CVE-2021-44228"), 0.943_58), (id("CVE-2019-0708"), 0.5)]);
        assert_eq!(scores, expected, "{form}");
        assert_eq!((feed.entries, feed.ignored), (2, 0), "{form}");
    }
    let (_, feed) = epss(&file(&dir, format!("{comment}{plain}"))).unwrap();
    assert_eq!(feed.date.as_deref(), Some("2025-10-06T00:00:00+0000"));
}

#[test]
fn scores_that_are_not_understood_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("", "is empty; expected: FIRST's CSV"),
        ("#model_version:1,score_date:2\n\n", "is empty; expected: FIRST's CSV"),
        (
            "#model_version:1,score_date:2\ncve;epss\nCVE-1;0,5\n",
            "is not separated by commas; expected: FIRST's CSV",
        ),
        ("cve\tepss\nCVE-1\t0.5\n", "is not separated by commas"),
        ("cve,epss\n", "an empty feed"),
        ("a,b\n1,2\n", "expected: FIRST's CSV"),
        ("cve;epss\nCVE-1;0.5\n", "is not separated by commas"),
        (r#"{"data":[{"cve":"CVE-1","epss":"0.5"}]}"#, "is JSON"),
        ("cve,epss\nCVE-1,NaN\n", "not a score"),
        ("cve,epss\nCVE-1,1.5\n", "not a score"),
        ("cve,epss\n1,0.5\n2,0.5\n", "none of its 2 entries"),
    ] {
        let error = epss(&file(&dir, text)).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

fn of_scan(value: &Value) -> Result<(crate::risk::model::Scan, Feed), FileError> {
    let dir = tempfile::tempdir().unwrap();
    scan("a:1", &file(&dir, value.to_string()))
}

#[test]
fn every_version_of_the_scanners_is_read() {
    let vulnerability = json!({"VulnerabilityID": "CVE-1", "Severity": "HIGH"});
    let result = json!({"Target": "os", "Vulnerabilities": [vulnerability]});
    for value in [
        json!({"Results": [result, {"Target": "app"}]}),
        json!({"SchemaVersion": 2, "ArtifactName": "a:1", "Results": [result]}),
        json!([result, {"Target": "app", "Vulnerabilities": null}]),
        json!({"kind": "VulnerabilityReport", "report": {"vulnerabilities": [{"vulnerabilityID": "CVE-1", "severity": "HIGH"}]}}),
        json!({"matches": [{"vulnerability": {"id": "CVE-1", "severity": "High"}}]}),
    ] {
        let (scan, feed) = of_scan(&value).unwrap();
        assert_eq!((scan.found.len(), feed.entries), (1, 1), "{value}");
        assert_eq!(
            (&scan.found[0].ids, scan.found[0].severity.as_str()),
            (&vec![id("CVE-1")], "HIGH"),
            "{value}"
        );
    }
    for value in [json!({}), json!([]), json!([{"a": 1}]), json!({"Results": [{"Vulnerabilities": [{}]}]})] {
        assert!(of_scan(&value).is_err(), "{value}");
    }
}

#[test]
fn a_clean_scan_is_a_scan() {
    for value in [
        json!({"SchemaVersion": 2, "ArtifactName": "a:1"}),
        json!({"SchemaVersion": 2, "ArtifactName": "a:1", "Results": null}),
        json!({"Results": []}),
        json!({"matches": [], "descriptor": {"name": "grype"}}),
        json!({"matches": null}),
    ] {
        assert_eq!(of_scan(&value).unwrap().1.entries, 0, "{value}");
    }
}

#[test]
fn an_advisory_is_known_by_its_related_cve() {
    let value = json!({"matches": [{
        "vulnerability": {"id": "GHSA-jfh8-c2jp-5v3q", "severity": "Critical"},
        "relatedVulnerabilities": [{"id": "CVE-2021-44228"}],
    }]});
    let (scan, _) = of_scan(&value).unwrap();
    let feeds = Feeds { scans: vec![scan], kev: [id("cve-2021-44228")].into(), ..Feeds::default() };
    assert_eq!(feeds.risk("no_latest_tag", &["docker.io/library/a:1".to_owned()]), (75.0, true));
}

#[test]
#[expect(clippy::float_cmp, reason = "exact: small whole numbers")]
fn an_image_is_found_by_tag_and_by_digest() {
    let value = json!({
        "ArtifactName": "registry.example/a@sha256:aa",
        "Metadata": {"RepoTags": ["registry.example/a:2"], "RepoDigests": ["registry.example/a@sha256:aa"]},
        "Results": [{"Vulnerabilities": [{"VulnerabilityID": "CVE-1", "Severity": "HIGH"}]}],
    });
    let (scan, _) = of_scan(&value).unwrap();
    let feeds = Feeds { scans: vec![scan], ..Feeds::default() };
    let risk = |image: &str| feeds.risk("no_latest_tag", &[image.to_owned()]).0;
    for image in ["registry.example/a:2", "registry.example/a:9@sha256:aa", "docker.io/library/a:1"] {
        assert_eq!(risk(image), 63.0, "{image}");
    }
    for image in ["registry.example/a:3", "registry.example/a:2@sha256:bb", "registry.example/a"] {
        assert_eq!(risk(image), 60.0, "{image}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
    /// However a feed is spelt: it is read whole, or refused.
    #[test]
    fn no_feed_is_read_as_empty(
        name in "[a-zA-Z_]{1,8}|cveID|cve|CVE|cveId",
        ids in prop::collection::vec("[ ]?(CVE|cve|Cve|GHSA|)-?[0-9]{4}-[0-9]{4}[ ]?", 0..4),
        wrap in 0_usize..4,
    ) {
        let list: Vec<Value> = ids.iter().map(|id| json!({name.clone(): id})).collect();
        let value = match wrap {
            0 => json!(list),
            1 => json!({"vulnerabilities": list}),
            2 => json!({"data": list}),
            _ => json!(ids),
        };
        let dir = tempfile::tempdir().unwrap();
        if let Ok((found, feed)) = kev(&file(&dir, value.to_string())) {
            prop_assert!(!found.is_empty());
            prop_assert!(feed.entries + feed.ignored <= ids.len());
        }
    }
}
