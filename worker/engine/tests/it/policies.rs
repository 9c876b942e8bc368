//! Every policy over the documents of a real run: what was recorded is found, a repair applies, clears its policy, leaves
//! nothing to do and breaks nothing else; what is not repaired has a reason. Skipped where the reference corpus is absent.

#![expect(
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "the table, with its times, is for people"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::config::{Limits, RunConfig};
use domain::outcome::{Gate, Proposal, Verdict};
use domain::policy::{PolicyId, PolicyName};
use domain::published::Detection;
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::policies::{self, Finding, Fix, Policy};
use engine::propose::{Decision, rules};
use engine::template;
use engine::verify::{self, Candidate};

/// What was recorded about a document: by policy, the records' ids and texts.
type Recorded = BTreeMap<PolicyId, Vec<(String, String)>>;

/// How a policy fared.
#[derive(Default)]
struct Row {
    /// Of all the work on it, and of counting collateral alone.
    times: [Duration; 2],
    documents: usize,
    recorded: usize,
    missed: Vec<String>,
    unknown_texts: Vec<String>,
    repairs: usize,
    excused: usize,
    /// Repairs that an agent of a node, or an object that exists, forbids.
    surroundings: Vec<String>,
    reviews: Vec<String>,
    idle: Vec<String>,
    failures: Vec<String>,
}

fn unpacked(path: &Path) -> impl Read + use<> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    flate2::read::GzDecoder::new(file)
}

fn detections(folder: &Path) -> Vec<Detection> {
    let reader = std::io::BufReader::new(unpacked(&folder.join("rules_full/detections.json.gz")));
    serde_json::from_reader(reader).expect("a list of detections")
}

/// The files of the manifest archive by path.
fn manifests(folder: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(unpacked(&folder.join("manifests.tar.gz")));
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a file");
        files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
    }
    files
}

/// Runs all policies over the texts and what was recorded about each.
fn run(texts: &BTreeMap<String, Recorded>) -> BTreeMap<PolicyId, Row> {
    let mut rows: BTreeMap<PolicyId, Row> = BTreeMap::new();
    for (text, recorded) in texts {
        let Ok(document) = Document::parse(text, &Limits::default()) else { continue };
        judge(&document, recorded, &mut rows);
    }
    rows
}

fn judge(document: &Document, recorded: &Recorded, rows: &mut BTreeMap<PolicyId, Row>) {
    let mut config = RunConfig::default();
    config.verifier.disabled_gates.insert(Gate::Schema);
    let clock = || 0.0;
    let start = Instant::now();
    let before = verify::examine(document, &Neighbours::Unknown, &config, &clock);
    let examined = start.elapsed();
    let view = View::new(document, &Neighbours::Unknown);
    for finding in &before.findings {
        assert!(finding.pointer.resolve(view.value).is_some(), "{finding:?} points nowhere");
    }
    let found: BTreeSet<PolicyId> = before.findings.iter().map(|finding| finding.policy).collect();
    for id in found.iter().chain(recorded.keys().filter(|id| !found.contains(id))) {
        let policy = policies::policy(*id);
        let row = rows.entry(*id).or_default();
        row.documents += 1;
        let who = format!("{} {}", view.kind(), document.identity.name);
        if let Some(records) = recorded.get(id) {
            row.recorded += 1;
            recall(&before.findings, *id, records, row);
        }
        let start = Instant::now();
        let fix = policy.fix(&view, &config.rules);
        row.times[0] += examined + start.elapsed();
        // What stands around the document leaves the repair to a person, whatever the policy itself would do.
        let decided = rules::decided_without_model(&view, &PolicyName::Known(*id), &config.rules);
        if let Some(Decision::NeedsReview { reason }) = decided {
            assert!(matches!(fix, Fix::Repair { .. }), "{who}: {reason}");
            row.surroundings.push(format!("{who}: {reason}"));
            continue;
        }
        match fix {
            Fix::NeedsReview { .. } if is_excused(document) => row.excused += 1,
            Fix::NeedsReview { reason } => row.reviews.push(format!("{who}: {reason}")),
            Fix::NotApplicable { reason } => row.idle.push(format!("{who}: {reason}")),
            Fix::Repair { patch, companions, cautions } => {
                row.repairs += 1;
                let proposal = Proposal { patch, companions, cautions, ..Proposal::default() };
                let candidate = Candidate {
                    document,
                    neighbours: &Neighbours::Unknown,
                    before: &before,
                    policy: &PolicyName::Known(*id),
                    proposal: &proposal,
                };
                let start = Instant::now();
                let verdict = verify::verify(candidate, &config, &clock);
                row.times[0] += start.elapsed();
                if let Some(patched) = &verdict.patched {
                    let start = Instant::now();
                    let collateral = verify::collateral(candidate, patched, &config);
                    row.times[1] += start.elapsed();
                    let needed = collateral.is_empty() && verdict.collateral.is_empty();
                    assert!(needed || !proposal.companions.is_empty(), "{id} {who}: {collateral:?}");
                }
                row.failures.extend(verdict.errors().into_iter().map(|error| format!("{who}: {error}")));
                if let Some(patched) = verdict.patched.filter(|_| proposal.companions.is_empty())
                    && !has_nothing_to_do(policy, patched)
                {
                    row.failures.push(format!("{who}: proposes again"));
                }
            }
        }
    }
}

/// Whether the document cannot be repaired: a template, or not a valid object.
fn is_excused(document: &Document) -> bool {
    let before = verify::examine(document, &Neighbours::Unknown, &RunConfig::default(), &|| 0.0);
    before.schema.verdict == Verdict::Failed || !template::unrendered(document).is_empty()
}

fn recall(findings: &[Finding], policy: PolicyId, records: &[(String, String)], row: &mut Row) {
    let messages: BTreeSet<&str> = findings
        .iter()
        .filter(|finding| finding.policy == policy)
        .map(|finding| finding.message.as_str())
        .collect();
    if messages.is_empty() {
        row.missed.push(format!("{}: {}", records[0].0, records[0].1));
        return;
    }
    for (id, text) in records {
        if !text.is_empty() && !messages.contains(text.as_str()) {
            row.unknown_texts.push(format!("{id}: {text}"));
        }
    }
}

fn has_nothing_to_do(policy: &dyn Policy, patched: serde_json::Value) -> bool {
    let patched = Document::from_value(patched).expect("still an object");
    let view = View::new(&patched, &Neighbours::Unknown);
    matches!(policy.fix(&view, &RunConfig::default().rules), Fix::NotApplicable { .. })
}

fn print(title: &str, rows: &BTreeMap<PolicyId, Row>) {
    eprintln!(
        "{title}\n{:35}{:>10}{:>10}{:>8}{:>8}{:>8}{:>10}{:>13}{:>8}{:>8}{:>8}",
        "policy",
        "documents",
        "recorded",
        "missed",
        "texts",
        "repair",
        "excused",
        "surroundings",
        "review",
        "n/a",
        "failed"
    );
    for (id, row) in rows {
        eprintln!(
            "{:35}{:>10}{:>10}{:>8}{:>8}{:>8}{:>10}{:>13}{:>8}{:>8}{:>8}",
            id.as_str(),
            row.documents,
            row.recorded,
            row.missed.len(),
            row.unknown_texts.len(),
            row.repairs,
            row.excused,
            row.surroundings.len(),
            row.reviews.len(),
            row.idle.len(),
            row.failures.len()
        );
    }
    let total = |at: usize| rows.values().map(|row| row.times[at]).sum::<Duration>().as_secs_f64();
    eprintln!("{:.2} s of {:.2} s count collateral", total(1), total(0));
    for (id, row) in rows {
        for (what, list) in [
            ("missed", &row.missed),
            ("text", &row.unknown_texts),
            ("review", &row.reviews),
            ("surroundings", &row.surroundings),
            ("n/a", &row.idle),
            ("failed", &row.failures),
        ] {
            for line in list.iter().take(5) {
                eprintln!("{id} {what} {}", line.chars().take(300).collect::<String>());
            }
        }
    }
}

fn records() -> Option<(PathBuf, Vec<Detection>)> {
    let folder = domain::testing::corpus("")?;
    let detections = detections(&folder);
    Some((folder, detections))
}

/// How many documents cannot show what was recorded about them.
type Blind = &'static [(PolicyId, usize)];

/// The stored copies were pruned of host flags and of the job specs of every `CronJob`; one manifest is not the one that was
/// read; some findings belonged to another document of their file.
const BLIND_RECORDS: Blind = &[
    (PolicyId::NoHostNetwork, 93),
    (PolicyId::NoHostPid, 21),
    (PolicyId::NoHostIpc, 8),
    (PolicyId::JobTtlAfterFinished, 4),
    (PolicyId::MismatchingSelector, 4),
];

/// What of that the whole manifests cannot show either.
const BLIND_MANIFESTS: Blind = &[(PolicyId::JobTtlAfterFinished, 1), (PolicyId::MismatchingSelector, 2)];

/// Recall, texts, and repairs that hold; reviews only where a person is needed.
fn check(title: &str, rows: &BTreeMap<PolicyId, Row>, blind: Blind) {
    print(title, rows);
    let (mut repairs, mut reviews) = (0, 0);
    for (id, row) in rows {
        let may_miss = blind.iter().find(|(policy, _)| policy == id).map_or(0, |(_, count)| *count);
        assert!(row.missed.len() <= may_miss, "{id} misses {:?}", row.missed);
        assert!(row.unknown_texts.is_empty(), "{id} does not say {:?}", row.unknown_texts);
        assert!(row.failures.is_empty(), "{id} repairs wrongly: {:?}", row.failures);
        assert!(row.idle.len() <= row.missed.len() + 8, "{id} does nothing: {:?}", row.idle);
        // The workloads of a Service that stands alone are not known.
        if *id != PolicyId::DanglingService {
            repairs += row.repairs;
            reviews += row.reviews.len();
        }
    }
    assert!(reviews * 500 < repairs, "{reviews} reviews beside {repairs} repairs");
}

/// Groups what was recorded by the text that `text_of` finds for a record.
fn grouped(
    detections: Vec<Detection>,
    text_of: impl Fn(&Detection) -> Option<String>,
) -> BTreeMap<String, Recorded> {
    let mut texts: BTreeMap<String, Recorded> = BTreeMap::new();
    for detection in detections {
        let (Some(text), Some(id)) = (text_of(&detection), PolicyId::find(&detection.policy_id)) else {
            continue;
        };
        texts.entry(text).or_default().entry(id).or_default().push((detection.id, detection.violation_text));
    }
    texts
}

#[test]
fn records_own_documents() {
    let Some((_, detections)) = records() else { return };
    let rows = run(&grouped(detections, |detection| detection.manifest_yaml.clone()));
    check("documents of the records", &rows, BLIND_RECORDS);
}

#[test]
fn whole_manifests() {
    let Some((folder, detections)) = records() else { return };
    let files = manifests(&folder);
    let rows = run(&grouped(detections, |detection| {
        let path = detection.manifest_path.as_deref()?;
        files.get(path.trim_start_matches("data/")).cloned()
    }));
    check("whole manifests", &rows, BLIND_MANIFESTS);
}
