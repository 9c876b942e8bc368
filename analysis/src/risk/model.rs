//! The paper's risk of a record: base risk of its policy plus the risk of image vulnerabilities.

use std::collections::{BTreeSet, HashMap};

use domain::policy::PolicyName;
use serde_json::{Value, json};

use super::feeds::VulnerabilityId;
use super::image_ref::ImageRef;
use super::tables::RiskTable;
use crate::load::files::text;
use crate::stats::round;

/// A vulnerability that a scanner found in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its id, and those of the same vulnerability in other lists.
    pub(crate) ids: Vec<VulnerabilityId>,
    /// In capitals.
    pub(crate) severity: String,
}

/// Vulnerabilities of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The names of the image.
    pub(crate) images: Vec<ImageRef>,
    /// One entry per finding.
    pub(crate) found: Vec<Finding>,
}

impl Scan {
    /// Whether this is a scan of the image. Where the digest of both is known it decides, for a tag can be moved.
    fn is_of(&self, image: &ImageRef) -> bool {
        let names = || self.images.iter().filter(|name| name.repository == image.repository);
        match &image.digest {
            Some(digest) if names().any(|name| name.digest.is_some()) => {
                names().any(|name| name.digest.as_ref() == Some(digest))
            }
            _ => names().any(|name| name.names_same_image(image)),
        }
    }
}

/// Scans and feeds; empty by default, so that only the policy counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Feeds {
    pub(crate) scans: Vec<Scan>,
    /// Probability of exploitation, by vulnerability id.
    pub(crate) epss: HashMap<VulnerabilityId, f64>,
    /// Ids of known exploited vulnerabilities.
    pub(crate) kev: BTreeSet<VulnerabilityId>,
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
        let findings = || images.iter().filter_map(|image| self.scan(image)).flat_map(|scan| &scan.found);
        let ids = || findings().flat_map(|finding| &finding.ids);
        let severities: f64 = findings().map(|finding| points(&finding.severity)).sum();
        let epss = ids().filter_map(|id| self.epss.get(id)).copied().fold(0.0, f64::max);
        let kev = ids().any(|id| self.kev.contains(id));
        let bonus = severities + (10.0 * epss).min(10.0) + if kev { 10.0 } else { 0.0 };
        (round((RiskTable::RiskFile.risk(policy) + bonus).min(100.0), 2), kev)
    }

    /// The scan of an image; of several the one that was named last.
    fn scan(&self, image: &str) -> Option<&Scan> {
        let image = ImageRef::parse(image)?;
        self.scans.iter().rev().find(|scan| scan.is_of(&image))
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
        let id = |text: &str| VulnerabilityId::parse(text).unwrap();
        let finding =
            |text: &str, severity: &str| Finding { ids: vec![id(text)], severity: severity.to_owned() };
        let found = vec![finding("CVE-1", "CRITICAL"), finding("CVE-2", "MEDIUM")];
        let scan = Scan { images: vec![ImageRef::parse("a:1").unwrap()], found };
        let mut feeds = Feeds { scans: vec![scan], ..Feeds::default() };
        let image = ["a:1".to_owned()];
        assert_eq!(feeds.risk("no_latest_tag", &image), (66.0, false));
        assert_eq!(feeds.risk("no_latest_tag", &["b:1".to_owned()]), (60.0, false));
        assert_eq!(feeds.risk("no_latest_tag", &[image[0].clone(), image[0].clone()]), (72.0, false));
        feeds.epss.insert(id("CVE-2"), 0.5);
        feeds.kev.insert(id("CVE-1"));
        assert_eq!(feeds.risk("no_latest_tag", &image), (81.0, true));
        assert_eq!(feeds.risk("no_privileged", &image), (100.0, true));
    }
}
