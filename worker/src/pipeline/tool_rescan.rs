//! Rescan by other scanners than the built-in one: the accepted repairs of a slice are collected while it is computed, and
//! judged together when it is, by one process a scanner.
//!
//! What they find decides nothing; it stands in columns of its own. Each document is judged before and after its repair, with
//! what is known of its neighbours and with the companions of the repair, and apart from the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use domain::config::{Context as Neighbourhood, Limits};
use domain::ids::DocumentHash;
use domain::outcome::{Outcome, ToolRescan};
use domain::policy::PolicyName;
use domain::record::{Neighbour, Neighbours, Record, Slice, SourceDocument};
use domain::scanner::Scanner;
use engine::document::Document;
use engine::yaml::to_yaml;
use scanners::{Documents, Report, ScannerError, Tool};
use serde_json::{Value, json};

/// A document after an accepted repair, without masks, and what the repair brings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Repaired {
    pub(super) document: Value,
    pub(super) companions: Vec<Value>,
}

/// Why the repairs of a slice were not judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RescanError {
    /// The documents cannot be laid out.
    #[error("cannot lay out the documents for the scanners: {0}")]
    Scratch(#[from] io::Error),
    /// A scanner does not work.
    #[error(transparent)]
    Scanner(#[from] ScannerError),
}

/// The scanners of a run, and the accepted repairs of a slice.
#[derive(Debug)]
pub struct ToolRescans {
    tools: Vec<Tool>,
    repaired: Mutex<HashMap<u64, Arc<Repaired>>>,
}

/// The documents of one judgement: the one that counts, and its companions.
type Numbers = Vec<usize>;

impl ToolRescans {
    /// For a slice.
    pub(crate) fn new(tools: Vec<Tool>) -> Self {
        Self { tools, repaired: Mutex::default() }
    }

    /// Keeps an accepted repair of the record at this position until the slice is computed.
    pub(super) fn keep(&self, position: u64, repaired: &Arc<Repaired>) {
        let mut kept = self.repaired.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(position, Arc::clone(repaired));
    }

    /// Lets the scanners judge the kept repairs. Blocks until their processes have ended.
    pub(crate) fn judge(
        &self,
        slice: &Slice,
        limits: &Limits,
        outcomes: &mut [Outcome],
    ) -> Result<(), RescanError> {
        let kept = std::mem::take(&mut *self.repaired.lock().unwrap_or_else(PoisonError::into_inner));
        if kept.is_empty() {
            return Ok(());
        }
        let mut layout = Layout::new(slice, limits)?;
        let mut judgements = Vec::new();
        for (at, outcome) in outcomes.iter().enumerate() {
            let Some(repaired) = kept.get(&outcome.position).filter(|_| outcome.accepted()) else { continue };
            let record = slice.records.iter().find(|record| record.position == outcome.position);
            let Some(record) = record else { continue };
            let (Some(before), Some(after)) = (layout.before(record)?, layout.after(record, repaired)?)
            else {
                continue;
            };
            judgements.push((at, record.policy(), before, after));
        }
        for tool in &self.tools {
            let report = tool.scan(&layout.documents)?;
            let view = View::new(tool.scanner(), &report);
            for (at, policy, before, after) in &judgements {
                let Some(outcome) = outcomes.get_mut(*at) else { continue };
                if let Some(rescan) = view.compare(policy, before, after) {
                    outcome.tool_rescans.insert(tool.scanner(), rescan);
                }
            }
        }
        Ok(())
    }
}

/// Lays out each document once, in a folder of its own.
struct Layout<'s> {
    documents: Documents,
    limits: &'s Limits,
    sources: HashMap<DocumentHash, &'s SourceDocument>,
    before: HashMap<DocumentHash, Option<Numbers>>,
    after: HashMap<(DocumentHash, DocumentHash), Numbers>,
    folders: usize,
}

impl<'s> Layout<'s> {
    fn new(slice: &'s Slice, limits: &'s Limits) -> io::Result<Self> {
        let sources = slice.documents.iter().map(|document| (document.hash, document)).collect();
        Ok(Self {
            documents: Documents::new(Neighbourhood::Folder)?,
            limits,
            sources,
            before: HashMap::new(),
            after: HashMap::new(),
            folders: 0,
        })
    }

    /// The document of a record as it was; `None`: it cannot be read.
    fn before(&mut self, record: &Record) -> io::Result<Option<Numbers>> {
        if let Some(known) = self.before.get(&record.document) {
            return Ok(known.clone());
        }
        let source = self.sources.get(&record.document).copied();
        let parsed =
            source.and_then(|source| Some((source, Document::parse(&source.text, self.limits).ok()?)));
        let numbers = match parsed {
            Some((source, document)) => {
                Some(self.lay(&source.text, &document.value, &[], &source.neighbours)?)
            }
            None => None,
        };
        self.before.insert(record.document, numbers.clone());
        Ok(numbers)
    }

    /// The document of a record after its repair.
    fn after(&mut self, record: &Record, repaired: &Repaired) -> io::Result<Option<Numbers>> {
        let text = to_yaml(&repaired.document);
        let companions = Value::from(repaired.companions.clone()).to_string();
        let key = (record.document, DocumentHash::of(format!("{text}\0{companions}").as_bytes()));
        if let Some(known) = self.after.get(&key) {
            return Ok(Some(known.clone()));
        }
        let Some(source) = self.sources.get(&record.document).copied() else { return Ok(None) };
        let numbers = self.lay(&text, &repaired.document, &repaired.companions, &source.neighbours)?;
        self.after.insert(key, numbers.clone());
        Ok(Some(numbers))
    }

    fn lay(
        &mut self,
        text: &str,
        value: &Value,
        companions: &[Value],
        around: &Neighbours,
    ) -> io::Result<Numbers> {
        let folder = self.folders.to_string();
        self.folders += 1;
        let mut numbers = vec![self.documents.add(&folder, text, value)?];
        for companion in companions {
            numbers.push(self.documents.add(&folder, &to_yaml(companion), companion)?);
        }
        for neighbour in around.objects().iter().filter_map(stand_in) {
            self.documents.add(&folder, &to_yaml(&neighbour), &neighbour)?;
        }
        Ok(numbers)
    }
}

/// An object in the place of a neighbour, with what is known of it. It is not judged.
fn stand_in(neighbour: &Neighbour) -> Option<Value> {
    let metadata = |namespace: &str, name: &str| {
        if namespace.is_empty() {
            json!({"name": name})
        } else {
            json!({"name": name, "namespace": namespace})
        }
    };
    match neighbour {
        // Whatever its kind: its pods are what others look for.
        Neighbour::Workload { namespace, name, pod_labels, .. } => {
            let mut metadata = metadata(namespace, name);
            metadata["labels"] = json!(pod_labels);
            Some(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                "spec": {"containers": [{"name": "c", "image": "stand-in:1"}]},
            }))
        }
        Neighbour::ServiceAccount { namespace, name } => {
            Some(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(namespace, name)}))
        }
        Neighbour::PodSelector { .. }
        | Neighbour::Reference(_)
        | Neighbour::CustomResource { .. }
        | Neighbour::ImageOverride { .. } => None,
    }
}

/// The report of a scanner by document.
struct View<'r> {
    scanner: Scanner,
    judged: Option<&'r BTreeSet<usize>>,
    unjudged: BTreeSet<usize>,
    findings: BTreeMap<usize, Vec<String>>,
}

impl<'r> View<'r> {
    fn new(scanner: Scanner, report: &'r Report) -> Self {
        let mut findings: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for finding in &report.findings {
            let rule = if finding.rule.is_empty() { String::new() } else { format!("/{}", finding.rule) };
            findings.entry(finding.document).or_default().push(format!("{}{rule}", finding.check));
        }
        let unjudged = report.unjudged.iter().map(|unjudged| unjudged.document).collect();
        Self { scanner, judged: report.judged.as_ref(), unjudged, findings }
    }

    /// What the scanner says of a repair; `None`: it did not judge both documents.
    fn compare(&self, policy: &PolicyName, before: &[usize], after: &[usize]) -> Option<ToolRescan> {
        let is_judged = |numbers: &[usize]| {
            numbers.first().is_some_and(|document| {
                !self.unjudged.contains(document)
                    && self.judged.is_none_or(|judged| judged.contains(document))
            })
        };
        if !is_judged(before) || !is_judged(after) {
            return None;
        }
        let of = |numbers: &[usize]| -> Vec<&str> {
            numbers
                .iter()
                .filter_map(|number| self.findings.get(number))
                .flatten()
                .map(String::as_str)
                .collect()
        };
        let (before, after) = (of(before), of(after));
        let is_target = |check: &&&str| self.is_of(check, policy);
        let found_before = before.iter().any(|check| is_target(&check));
        let cleared = found_before.then(|| !after.iter().any(|check| is_target(&check)));
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for check in before {
            *known.entry(check).or_default() += 1;
        }
        let mut new = BTreeSet::new();
        for check in after {
            match known.get_mut(check).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None if self.is_of(check, policy) => {}
                None => {
                    new.insert(check.to_owned());
                }
            }
        }
        Some(ToolRescan { cleared, new: new.into_iter().collect() })
    }

    /// Whether a check, with its rule, asks for a policy.
    fn is_of(&self, check: &str, policy: &PolicyName) -> bool {
        let id = check.split('/').next().unwrap_or_default();
        match policy {
            PolicyName::Known(policy) => self.scanner.policy_of(id) == Some(*policy),
            PolicyName::Unknown(name) => id.eq_ignore_ascii_case(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::policy::PolicyId;
    use scanners::{Finding, Unjudged};

    use super::*;

    fn report(found: &[(usize, &str)]) -> Report {
        let finding = |(document, check): &(usize, &str)| Finding {
            document: *document,
            check: (*check).to_owned(),
            rule: String::new(),
            message: String::new(),
            severe: false,
        };
        Report { findings: found.iter().map(finding).collect(), ..Report::default() }
    }

    #[test]
    fn a_scanner_says_what_is_cleared_and_what_is_new() {
        let report = report(&[
            (0, "privileged-container"),
            (0, "latest-tag"),
            (1, "latest-tag"),
            (1, "latest-tag"),
            (1, "sorted-keys"),
            (2, "privileged-container"),
            (3, "use-namespace"),
        ]);
        let view = View::new(Scanner::KubeLinter, &report);
        let policy = PolicyName::Known(PolicyId::NoPrivileged);
        let compare = |before: &[usize], after: &[usize]| view.compare(&policy, before, after).unwrap();
        let rescan = compare(&[0], &[1]);
        assert_eq!(
            (rescan.cleared, rescan.new.as_slice()),
            (Some(true), &["latest-tag".to_owned(), "sorted-keys".to_owned()][..])
        );
        assert_eq!(compare(&[0], &[2]).cleared, Some(false));
        assert_eq!(compare(&[1], &[1]), ToolRescan { cleared: None, new: Vec::new() });
        // A companion is new with all that is found in it.
        assert_eq!(compare(&[1], &[1, 3]).new, ["use-namespace"]);
        let unknown = PolicyName::normalise("Sorted-Keys");
        assert_eq!(view.compare(&unknown, &[1], &[0]).unwrap().cleared, Some(true));
    }

    #[test]
    fn what_was_not_judged_is_not_cleared() {
        let mut report = report(&[(0, "privileged-container")]);
        report.unjudged = vec![Unjudged { document: 1, reason: "x".to_owned() }];
        report.judged = Some([0, 1].into());
        let policy = PolicyName::Known(PolicyId::NoPrivileged);
        let compare = |report: &Report, after: usize| {
            View::new(Scanner::Kyverno, report).compare(&policy, &[0], &[after])
        };
        assert_eq!(compare(&report, 1), None, "it could not be judged");
        assert_eq!(compare(&report, 2), None, "no policy is about it");
    }

    #[test]
    fn stand_ins_have_what_is_known_of_neighbours() {
        let workload = Neighbour::Workload {
            kind: "Deployment".to_owned(),
            namespace: "n".to_owned(),
            name: "a".to_owned(),
            pod_labels: [("app".to_owned(), "x".to_owned())].into(),
        };
        let object = stand_in(&workload).unwrap();
        assert_eq!(object["metadata"], json!({"name": "a", "namespace": "n", "labels": {"app": "x"}}));
        let account = Neighbour::ServiceAccount { namespace: String::new(), name: "a".to_owned() };
        assert_eq!(stand_in(&account).unwrap()["metadata"], json!({"name": "a"}));
    }
}
