//! Exceptions that an object's annotations document: findings that its owner has decided to live with.
//!
//! Understood are the annotations of kube-linter (`kube-linter.io/ignore-all`, `ignore-check.kube-linter.io/CHECK`), of
//! checkov (`checkov.io/skipN: CKV_K8S_N=reason`) and of kubescape (`kubescape.io/ignore`), as their documentation has them.

use domain::policy::PolicyId;
use domain::scanner::CHECKOV;
use serde_json::Value;

use crate::policies::Finding;

/// Why a finding does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The annotation that documents it.
    pub annotation: String,
    /// What its owner wrote; may be empty.
    pub reason: String,
}

/// The findings that count, and those that an annotation of the object excepts, each with why.
pub fn split(object: &Value, findings: Vec<Finding>) -> (Vec<Finding>, Vec<(Finding, Exception)>) {
    if annotations(object).next().is_none() {
        return (findings, Vec::new());
    }
    let (mut kept, mut excepted) = (Vec::new(), Vec::new());
    for finding in findings {
        match exception(object, &finding) {
            Some(exception) => excepted.push((finding, exception)),
            None => kept.push(finding),
        }
    }
    (kept, excepted)
}

/// The annotation of `object` that excepts a finding in it.
pub fn exception(object: &Value, finding: &Finding) -> Option<Exception> {
    annotations(object).find_map(|(key, value)| {
        let reason = reason(key, value, finding)?;
        Some(Exception { annotation: key.to_owned(), reason: reason.trim().to_owned() })
    })
}

fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let map = object.pointer("/metadata/annotations").and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// What an annotation says of a finding; `None` where it says nothing of it.
fn reason<'a>(key: &str, value: &'a str, finding: &Finding) -> Option<&'a str> {
    if key == "kube-linter.io/ignore-all" {
        return Some(value);
    }
    if let Some(check) = key.strip_prefix("ignore-check.kube-linter.io/") {
        return (check == finding.check).then_some(value);
    }
    if key == "kubescape.io/ignore" {
        return value.eq_ignore_ascii_case("true").then_some("");
    }
    let number = key.strip_prefix("checkov.io/skip")?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (check, reason) = value.split_once('=').unwrap_or((value, ""));
    let mut known = CHECKOV.iter().chain(&CLOSE);
    known.any(|(id, policy)| *id == check.trim() && *policy == finding.policy).then_some(reason)
}

/// Checks of checkov that come close enough to a policy for an exception of its owner, and not for a finding of checkov's.
const CLOSE: [(&str, PolicyId); 3] = [
    ("CKV_K8S_35", PolicyId::EnvVarSecret),
    ("CKV_K8S_40", PolicyId::RunAsUser),
    ("CKV_K8S_43", PolicyId::NoLatestTag),
];

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::detect::detect;
    use crate::k8s::View;
    use crate::testing::document;

    const POD: &str = "spec: {hostPID: true, containers: [{name: a, image: 'a:latest', env: [{name: DB_PASSWORD, value: x}], securityContext: {privileged: true}}]}";

    fn excepted(annotations: &str) -> (usize, Vec<(Finding, Exception)>) {
        let document =
            document(&format!("kind: Pod\nmetadata: {{name: a, annotations: {annotations}}}\n{POD}"));
        let (kept, excepted) =
            split(&document.value, detect(&View::new(&document, &Neighbours::Unknown), PolicyId::ALL));
        (kept.len(), excepted)
    }

    #[test]
    fn every_check_can_be_excepted_alone_and_all_at_once() {
        let (all, none) = excepted("{note: x}");
        assert!(all >= 8 && none.is_empty(), "{all}");
        let (left, gone) = excepted("{kube-linter.io/ignore-all: debug pod}");
        assert_eq!((left, gone.len()), (0, all));
        assert_eq!(gone[0].1.reason, "debug pod");
        assert_eq!(excepted("{kubescape.io/ignore: 'true'}").0, 0);
        assert_eq!(excepted("{kubescape.io/ignore: 'false'}").0, all);
        let document = document(&format!("kind: Pod\n{POD}"));
        for finding in detect(&View::new(&document, &Neighbours::Unknown), PolicyId::ALL) {
            let (_, gone) = excepted(&format!("{{ignore-check.kube-linter.io/{}: agreed}}", finding.check));
            assert!(!gone.is_empty() && gone.iter().all(|(found, _)| found.check == finding.check));
        }
    }

    #[test]
    fn checkovs_checks_are_those_of_the_same_policy() {
        for (id, policy) in CHECKOV.into_iter().chain(CLOSE) {
            let (_, gone) = excepted(&format!("{{checkov.io/skip1: '{id}=because'}}"));
            assert!(
                gone.iter().all(|(found, why)| found.policy == policy && why.reason == "because"),
                "{id}"
            );
        }
        let (_, gone) = excepted("{checkov.io/skip12: CKV_K8S_16}");
        assert_eq!((gone.len(), gone[0].0.policy), (1, PolicyId::NoPrivileged));
        for nothing in
            ["{checkov.io/skip1: CKV_K8S_1=x}", "{checkov.io/skipx: CKV_K8S_16=x}", "{x/ignore-all: y}"]
        {
            assert_eq!(excepted(nothing).1, [], "{nothing}");
        }
    }
}
