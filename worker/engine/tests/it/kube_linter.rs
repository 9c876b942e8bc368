//! The policies beyond those of the paper against what kube-linter itself found in half of the manifests, alone and with the
//! other files of their folder: the same findings word for word. Skipped where the corpus is absent.

#![expect(
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test reads the corpus and prints a table for people"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use domain::config::{Context, Limits};
use domain::policy::PolicyId;
use engine::detect::detect;
use engine::document::Document;
use engine::k8s::View;
use engine::k8s::neighbours::{Index, offer, reference};
use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

#[derive(Deserialize)]
struct Row {
    manifest: String,
    check: String,
    message: String,
    /// `alone`, `folder` or `both`.
    context: String,
}

/// Manifest and message.
type Found = BTreeSet<(String, String)>;

/// What is found by check.
type ByCheck = BTreeMap<String, Found>;

/// What kube-linter does with four manifests that have an amount or a placeholder which is no quantity.
const UNTYPED: &str = "kube-linter cannot decode the manifest, and looks for nothing in it; a Deployment without a spec has no pods";

/// Checks in which a difference is right: the most that only we find, the most that only kube-linter finds, and why.
const DIFFERENCES: &[(&str, usize, usize, &str)] = &[
    (
        "access-to-secrets",
        0,
        1,
        "kube-linter looks for a Role of the name where the binding names a ClusterRole",
    ),
    ("dangling-horizontalpodautoscaler", 5, 0, "kube-linter takes a workload of any namespace"),
    ("dangling-ingress", 0, 1, "kube-linter takes no namespace for another one than default"),
    ("default-service-account", 2, 1, UNTYPED),
    ("env-value-from", 4, 7, "kube-linter takes a Secret or ConfigMap of any namespace"),
    ("no-liveness-probe", 6, 0, UNTYPED),
    ("no-readiness-probe", 6, 0, UNTYPED),
    ("no-rolling-update-strategy", 1, 0, UNTYPED),
    (
        "non-isolated-pod",
        3,
        121,
        "kube-linter takes no namespace for another one than default, and looks no further than the first policy that is not valid",
    ),
    ("restart-policy", 3, 1, UNTYPED),
    ("writable-host-mount", 4, 0, UNTYPED),
];

fn unpacked(path: &Path) -> GzDecoder<std::fs::File> {
    GzDecoder::new(std::fs::File::open(path).unwrap())
}

fn recorded(path: &Path, context: &str) -> ByCheck {
    let mut found = ByCheck::new();
    for line in BufReader::new(unpacked(path)).lines() {
        let row: Row = serde_json::from_str(&line.unwrap()).unwrap();
        if row.context == "both" || row.context == context {
            found.entry(row.check).or_default().insert((row.manifest, row.message));
        }
    }
    found
}

/// The documents of the archive by the path of their file.
pub(crate) fn manifests(path: &Path) -> Vec<(String, Document)> {
    let mut documents = Vec::new();
    let mut archive = tar::Archive::new(unpacked(path));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        if entry.header().entry_type().is_file() && entry.read_to_string(&mut text).is_ok() {
            let document = Document::parse(&text, &Limits::default());
            let objects = document.into_iter().flat_map(Document::flatten);
            documents.extend(objects.map(|(_, object)| (path.clone(), object)));
        }
    }
    documents
}

pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_in_half(path: &str) -> bool {
    Sha256::digest(path.as_bytes())[0].is_multiple_of(2)
}

/// What the policies beyond the paper find in the half, each document with the others of its folder or of its file.
fn ours(documents: &[(String, Document)], place: fn(&str) -> &str) -> ByCheck {
    let further: Vec<PolicyId> =
        PolicyId::ALL.iter().copied().filter(|id| !PolicyId::PAPER.contains(id)).collect();
    let offers = documents.iter().flat_map(|(path, document)| {
        let offers = offer(document).into_iter().chain(reference(document));
        offers.map(move |offer| (place(path).to_owned(), offer))
    });
    let index = Index::in_folders(offers, Context::Folder).with_references();
    let mut found = ByCheck::new();
    for (path, document) in documents.iter().filter(|(path, _)| is_in_half(path)) {
        let neighbours = index.related_in(document, place(path));
        for finding in detect(&View::new(document, &neighbours), &further) {
            found.entry(finding.check.to_owned()).or_default().insert((path.clone(), finding.message));
        }
    }
    found
}

fn agree(ours: &ByCheck, theirs: &ByCheck, title: &str) -> Vec<String> {
    let (mut failures, none) = (Vec::new(), Found::new());
    eprintln!("{title}\n{:42}{:>8}{:>8}{:>8}{:>9}", "check", "both", "ours", "theirs", "F1");
    let further = PolicyId::ALL.iter().filter(|id| !PolicyId::PAPER.contains(id));
    for check in further.flat_map(|id| id.references().kube_linter) {
        let (ours, theirs) = (ours.get(*check).unwrap_or(&none), theirs.get(*check).unwrap_or(&none));
        let both = ours.intersection(theirs).count();
        let (only_ours, only_theirs) = (ours.len() - both, theirs.len() - both);
        let all = ours.len() + theirs.len();
        let f1 = if all == 0 { 1.0 } else { 2.0 * both as f64 / all as f64 };
        eprintln!("{check:42}{both:>8}{only_ours:>8}{only_theirs:>8}{f1:>9.4}");
        let pinned = DIFFERENCES.iter().find(|(id, ..)| id == check);
        let may = pinned.map_or((0, 0), |(_, ours, theirs, _)| (*ours, *theirs));
        if f1 < 0.998 && (only_ours > may.0 || only_theirs > may.1) {
            failures.extend(pinned.map(|(id, .., why)| format!("{title} {id}: more than: {why}")));
            for (who, one, other) in [("ours", ours, theirs), ("theirs", theirs, ours)] {
                let some = one.difference(other).take(4);
                failures.extend(
                    some.map(|(path, message)| format!("{title} {check}: only {who}: {path}: {message}")),
                );
            }
        }
    }
    failures
}

#[test]
fn kube_linter_finds_the_same() {
    let Some(rows) = domain::testing::corpus("scanner_findings/kube-linter.jsonl.gz") else { return };
    let Some(archive) = domain::testing::corpus("manifests.tar.gz") else { return };
    let documents = manifests(&archive);
    let mut failures = agree(&ours(&documents, folder), &recorded(&rows, "folder"), "folder");
    failures.extend(agree(&ours(&documents, |path| path), &recorded(&rows, "alone"), "alone"));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
