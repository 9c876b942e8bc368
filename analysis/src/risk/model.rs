//! The paper's risk of a record: base risk of its policy plus the risk of image vulnerabilities.

use std::collections::{BTreeSet, HashMap};

use domain::policy::PolicyName;
use serde_json::{Value, json};

use super::tables::RiskTable;
use crate::load::files::text;
use crate::stats::round;

/// Vulnerabilities of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// (id, severity in capitals), once per finding.
    pub(crate) found: Vec<(String, String)>,
}

/// Scans and feeds; empty by default, so that only the policy counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Feeds {
    pub(crate) scans: HashMap<String, Scan>,
    /// Probability of exploitation, by vulnerability id.
    pub(crate) epss: HashMap<String, f64>,
    /// Ids of known exploited vulnerabilities.
    pub(crate) kev: BTreeSet<String>,
}

fn points(severity: &str) -> f64 {
    match severity {
        "CRITICAL" => 5.0,
        "HIGH" => 3.0,
        "MEDIUM" => 1.0,
        _ => 0.0,
    }
}

impl Feeds {
    /// Risk of a policy on these images, and whether any of their vulnerabilities is known to be exploited:
    /// min(100, base + 5·critical + 3·high + medium + min(10, 10·largest EPSS) + 10 if exploited), 2 decimals. As in
    /// the paper, an image that occurs twice counts twice.
    pub(crate) fn risk(&self, policy: &str, images: &[String]) -> (f64, bool) {
        let findings =
            || images.iter().filter_map(|image| self.scans.get(image)).flat_map(|scan| &scan.found);
        let severities: f64 = findings().map(|(_, severity)| points(severity)).sum();
        let epss = findings().filter_map(|(id, _)| self.epss.get(id)).copied().fold(0.0, f64::max);
        let kev = findings().any(|(id, _)| self.kev.contains(id));
        let bonus = severities + (10.0 * epss).min(10.0) + if kev { 10.0 } else { 0.0 };
        (round((RiskTable::RiskFile.risk(policy) + bonus).min(100.0), 2), kev)
    }
}

/// The paper's `risk.json`: one entry per detection.
pub(crate) fn entries(detections: &[Value], feeds: &Feeds) -> Value {
    detections
        .iter()
        .map(|entry| {
            let policy = PolicyName::normalise(text(entry, "policy_id").unwrap_or_default());
            let images = text(entry, "manifest_yaml").map(super::images::images).unwrap_or_default();
            let (risk, kev) = feeds.risk(policy.as_str(), &images);
            json!({
                "id": text(entry, "id").unwrap_or_default(), "risk": risk, "probability": 0.9, "expected_time": 10.0,
                "wait": 0.0, "kev": kev, "explore": 0.0,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bonus_counts_and_100_is_the_end() {
        let finding = |id: &str, severity: &str| (id.to_owned(), severity.to_owned());
        let scan = Scan { found: vec![finding("CVE-1", "CRITICAL"), finding("CVE-2", "MEDIUM")] };
        let mut feeds = Feeds { scans: [("a:1".to_owned(), scan)].into(), ..Feeds::default() };
        let image = ["a:1".to_owned()];
        assert_eq!(feeds.risk("no_latest_tag", &image), (66.0, false));
        assert_eq!(feeds.risk("no_latest_tag", &["b:1".to_owned()]), (60.0, false));
        assert_eq!(feeds.risk("no_latest_tag", &[image[0].clone(), image[0].clone()]), (72.0, false));
        feeds.epss.insert("CVE-2".to_owned(), 0.5);
        feeds.kev.insert("CVE-1".to_owned());
        assert_eq!(feeds.risk("no_latest_tag", &image), (81.0, true));
        assert_eq!(feeds.risk("no_privileged", &image), (100.0, true));
    }
}
