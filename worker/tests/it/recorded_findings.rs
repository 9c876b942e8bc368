//! The built-in detector against recorded findings of kube-linter, over the half of the manifests for which there are some.
//!
//! The unit is a pair of a document (manifest, kind, name) and a policy. Every pair that differs is pinned with its reason;
//! a new one fails the test, as does one that is pinned and no longer differs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use domain::policy::PolicyId;
use domain::scanner::Scanner;
use domain::testing::corpus;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cli::{run, worker};

type Pair = (String, String, String, String);

/// Why a pair differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// A quantity such as `{{ cpu }}` or `${CPU}` makes kube-linter read the whole object as an untyped one, for which it runs
    /// no check of workloads, without a word.
    Untyped,
    /// kube-linter looks at policy/v1 and batch/v1 alone.
    OldVersion,
    /// kube-linter does not take an absent namespace for `default`, in which it is created.
    DefaultNamespace,
}

/// Pairs that we find and kube-linter does not, by document: policies and the reason.
const ONLY_OURS: [(&str, &[&str], Reason); 6] = [
    (
        "the_stack_sample/sample_1296",
        &[
            "drop_capabilities",
            "no_host_network",
            "no_host_path",
            "no_privileged",
            "non_existent_service_account",
            "read_only_root_fs",
            "run_as_non_root",
            "set_requests_limits",
        ],
        Reason::Untyped,
    ),
    (
        "the_stack_sample/sample_4505",
        &["read_only_root_fs", "run_as_non_root", "set_requests_limits"],
        Reason::Untyped,
    ),
    (
        "the_stack_sample/sample_4806",
        &[
            "mismatching_selector",
            "no_latest_tag",
            "read_only_root_fs",
            "run_as_non_root",
            "set_requests_limits",
        ],
        Reason::Untyped,
    ),
    ("the_stack_sample/sample_0752", &["pdb_unhealthy_eviction_policy"], Reason::OldVersion),
    ("the_stack_sample/sample_1682", &["pdb_unhealthy_eviction_policy"], Reason::OldVersion),
    ("the_stack_sample/sample_4641", &["job_ttl_after_finished"], Reason::OldVersion),
];
/// Pairs that kube-linter finds and we do not.
const ONLY_THEIRS: [(&str, &[&str], Reason); 1] =
    [("the_stack_sample/sample_2796", &["dangling_service"], Reason::DefaultNamespace)];
/// Our check of every host path. kube-linter has checks of sensitive ones alone (`sensitive-host-mounts`, `docker-sock`): it is
/// no difference of opinion where nothing else is found for the policy.
const EVERY_HOST_PATH: &str = "hostpath-volume";
/// Documents with host paths that are not sensitive, beside those that are pinned above.
const HOST_PATHS: usize = 57;

/// Whether findings are recorded for a manifest.
fn is_recorded(path: &str) -> bool {
    Sha256::digest(path.as_bytes()).first().is_some_and(|byte| byte % 2 == 0)
}

/// Our findings: their pairs, each with its checks.
fn ours() -> BTreeMap<Pair, BTreeSet<String>> {
    let archive = corpus("manifests.tar.gz").unwrap();
    let args = ["detect", "--context", "folder", "--output", "jsonl", archive.to_str().unwrap()];
    let (code, stdout, _) = run(worker().args(args));
    assert_eq!(code, 1);
    let mut found: BTreeMap<Pair, BTreeSet<String>> = BTreeMap::new();
    for line in stdout.lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        let path = text("path");
        let path = &path[path.find("manifests/").unwrap()..];
        if is_recorded(path) {
            let pair = (path.to_owned(), text("kind"), text("name"), text("policy"));
            found.entry(pair).or_default().insert(text("check"));
        }
    }
    found
}

/// The recorded findings with the folder as context, of checks that are policies of ours.
fn theirs() -> BTreeSet<Pair> {
    let file = corpus("scanner_findings/kube-linter.jsonl.gz").unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let pair = |line: &str| {
        let finding: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let policy =
            Scanner::KubeLinter.policy_of(&text("check")).filter(|id| PolicyId::PAPER.contains(id))?;
        let counts = text("context") != "alone";
        counts.then(|| (text("manifest"), text("kind"), text("name"), policy.to_string()))
    };
    text.lines().filter_map(pair).collect()
}

/// Pinned differences as (manifest, policy).
fn pinned(table: &[(&str, &[&str], Reason)]) -> BTreeSet<(String, String)> {
    let of = |(document, policies, _): &(&str, &[&str], Reason)| {
        let manifest = format!("manifests/{document}.yaml");
        policies.iter().map(move |policy| (manifest.clone(), (*policy).to_owned())).collect::<Vec<_>>()
    };
    table.iter().flat_map(of).collect()
}

#[test]
fn the_built_in_detector_agrees_with_recorded_findings_of_kube_linter() {
    if corpus("scanner_findings").is_none() {
        return;
    }
    let (mut ours, theirs) = (ours(), theirs());
    let checked: BTreeSet<&String> = theirs.iter().map(|(_, _, _, policy)| policy).collect();
    ours.retain(|(_, _, _, policy), _| checked.contains(policy));
    // Those of `catalogue: paper` that a half of the manifests shows.
    assert!(checked.len() >= 25, "{checked:?}");
    let both = theirs.iter().filter(|pair| ours.contains_key(*pair)).count();
    assert!(both >= 4352, "{both} pairs are found by both");

    let short = |(manifest, _, _, policy): &Pair| (manifest.clone(), policy.clone());
    let known = pinned(&ONLY_OURS);
    let (mut only_ours, mut host_paths) = (BTreeSet::new(), BTreeSet::new());
    for (pair, checks) in ours.iter().filter(|(pair, _)| !theirs.contains(*pair)) {
        let is_host_path = checks.iter().all(|check| check == EVERY_HOST_PATH);
        let pair = short(pair);
        if is_host_path && !known.contains(&pair) {
            host_paths.insert(pair)
        } else {
            only_ours.insert(pair)
        };
    }
    assert_eq!(only_ours, known, "found by us alone");
    assert_eq!(host_paths.len(), HOST_PATHS, "{host_paths:?}");
    let only_theirs: BTreeSet<_> =
        theirs.iter().filter(|pair| !ours.contains_key(*pair)).map(short).collect();
    assert_eq!(only_theirs, pinned(&ONLY_THEIRS), "found by kube-linter alone");
}
