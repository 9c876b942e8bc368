//! The share of deceptive repairs, by proposer.
//!
//! *Denominator*: repairs that clear their target, i.e. passed the policy gate, and whose document is in the run's copy
//! of its corpus. Repairs without it are counted as not examined.

use std::collections::{BTreeMap, HashMap};

use cli_support::output::{Align, Table};
use domain::ids::{DocumentHash, RecordId};
use domain::record::Neighbours;
use rayon::prelude::*;
use results::corpus_copy::CorpusReader;
use results::layout::CORPUS_FILE;
use results::schema;
use serde::Serialize;
use serde_json::{Value, json};

use super::detectors::DETECTORS;
use super::repair::Repair;
use crate::load::rows::{Gates, Texts, rows};
use crate::load::{AnalysisError, Results};
use crate::render::{Figures, interval, percent};
use crate::stats::Proportion;

/// Records of the corpus that are read at once.
const STEP: u64 = 1000;

/// Operations that copy a part of the document, each of which may double it. Patches with more are not examined.
const MOST_COPIES: usize = 8;

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        record: &'a str = [schema::RECORD_ID],
        position: u64 = [schema::POSITION],
        policy: &'a str = [schema::POLICY_ID],
        source: &'a str = [schema::SOURCE],
        accepted: bool = [schema::ACCEPTED],
        gates: Gates = Gates::COLUMNS,
        patch: Option<&'a str> = [schema::PATCH],
        new_violations: Texts<'a> = [schema::NEW_VIOLATIONS],
        cautions: Texts<'a> = [schema::CAUTIONS],
    }
}

/// A repair that clears its target.
struct Cleared {
    record: String,
    position: u64,
    policy: String,
    source: String,
    accepted: bool,
    patch: Option<String>,
    new_violations: Vec<String>,
    /// Whether it tells a person what to look at.
    cautioned: bool,
}

impl Cleared {
    fn of(row: &Row<'_>) -> Self {
        Self {
            record: row.record.to_owned(),
            position: row.position,
            policy: row.policy.to_owned(),
            source: row.source.to_owned(),
            accepted: row.accepted,
            patch: row.patch.map(str::to_owned),
            new_violations: row.new_violations.iter().map(str::to_owned).collect(),
            cautioned: !row.cautions.is_empty(),
        }
    }
}

/// A finding of a detector.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    record_id: String,
    policy_id: String,
    accepted: bool,
    what: String,
}

/// Figures of a proposer in a run.
#[derive(Default)]
struct Sums {
    cleared: u64,
    examined: u64,
    deceptive: u64,
    accepted: u64,
    accepted_deceptive: u64,
    cautioned: u64,
    findings: [Vec<Finding>; DETECTORS.len()],
}

/// The rates of every run and proposer. `top`: examples of each detector (0: all).
pub(crate) fn deceptive(results: &Results, top: usize) -> Result<Figures, AnalysisError> {
    results.refuse_repeats()?;
    let mut runs: BTreeMap<String, Vec<Cleared>> = BTreeMap::new();
    results.each::<Row>(|row| {
        let run = runs.entry(row.run.to_owned()).or_default();
        if row.gates.policy == Some(true) || (row.accepted && row.gates.policy.is_none()) {
            run.push(Cleared::of(&row));
        }
    })?;
    let mut proposers: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for (run, mut repairs) in runs {
        let folder = results.runs().zip(results.folders()).find(|(file, _)| file.run_id.as_str() == run);
        let path = folder.map(|(_, folder)| folder.join(CORPUS_FILE)).filter(|path| path.is_file());
        let corpus = path.map(|path| CorpusReader::open(&path)).transpose()?;
        repairs.sort_by_key(|repair| repair.position);
        let mut rest = repairs.as_slice();
        while let Some(first) = rest.first() {
            let start = first.position;
            let end = rest.partition_point(|repair| repair.position < start + STEP);
            let (now, later) = rest.split_at(end);
            rest = later;
            let stretch = Stretch::read(corpus.as_ref(), start)?;
            let found: Vec<_> = now.par_iter().map(|repair| examine(repair, &stretch)).collect();
            for (repair, found) in now.iter().zip(found) {
                proposers.entry((run.clone(), repair.source.clone())).or_default().add(repair, found);
            }
        }
    }
    Ok(figures(&proposers, top))
}

/// A stretch of the corpus.
#[derive(Default)]
struct Stretch {
    /// Id and document of the record at each position.
    records: BTreeMap<u64, (RecordId, DocumentHash)>,
    /// The documents, parsed, with what is known of other objects; `None`: not valid YAML.
    documents: HashMap<DocumentHash, (Option<Value>, Neighbours)>,
}

impl Stretch {
    fn read(corpus: Option<&CorpusReader>, start: u64) -> Result<Self, AnalysisError> {
        let Some(corpus) = corpus.filter(|corpus| start < corpus.records()) else {
            return Ok(Self::default());
        };
        let slice = corpus.slice(start, STEP)?;
        let parsed = slice.documents.into_par_iter().map(|document| {
            (document.hash, (serde_saphyr::from_str(&document.text).ok(), document.neighbours))
        });
        let records = slice.records.into_iter().map(|record| (record.position, (record.id, record.document)));
        Ok(Self { documents: parsed.collect(), records: records.collect() })
    }

    /// The document of a repair; `None`: the corpus has another record at its place, or the document is not valid.
    fn document(&self, repair: &Cleared) -> Option<(&Value, &Neighbours)> {
        let (record, document) = self.records.get(&repair.position)?;
        let (value, neighbours) =
            self.documents.get(document).filter(|_| record.as_str() == repair.record)?;
        Some((value.as_ref()?, neighbours))
    }
}

/// What the detectors find, by detector; `None` where the document is not known, or the patch does not apply to it.
fn examine(repair: &Cleared, stretch: &Stretch) -> Option<[Option<String>; DETECTORS.len()]> {
    let (before, neighbours) = stretch.document(repair)?;
    let after = patched(before, repair.patch.as_deref()?)?;
    Some(found(before, &after, repair, neighbours))
}

fn found(
    before: &Value,
    after: &Value,
    repair: &Cleared,
    neighbours: &Neighbours,
) -> [Option<String>; DETECTORS.len()] {
    let change =
        Repair { policy: &repair.policy, before, after, neighbours, new_violations: &repair.new_violations };
    DETECTORS.each_ref().map(|detector| (detector.find)(&change))
}

/// The document after the patch; `None`: it does not apply, or copies too much.
fn patched(before: &Value, patch: &str) -> Option<Value> {
    let patch: json_patch::Patch = serde_json::from_str(patch).ok()?;
    let copies = patch.0.iter().filter(|op| matches!(op, json_patch::PatchOperation::Copy(_))).count();
    if copies > MOST_COPIES {
        return None;
    }
    let mut after = before.clone();
    json_patch::patch(&mut after, &patch).ok()?;
    Some(after)
}

impl Sums {
    fn add(&mut self, repair: &Cleared, found: Option<[Option<String>; DETECTORS.len()]>) {
        self.cleared += 1;
        let Some(found) = found else { return };
        let deceptive = found.iter().any(Option::is_some);
        self.examined += 1;
        self.deceptive += u64::from(deceptive);
        self.accepted += u64::from(repair.accepted);
        self.accepted_deceptive += u64::from(repair.accepted && deceptive);
        self.cautioned += u64::from(deceptive && repair.cautioned);
        for (findings, what) in self.findings.iter_mut().zip(found) {
            findings.extend(what.map(|what| Finding {
                record_id: repair.record.clone(),
                policy_id: repair.policy.clone(),
                accepted: repair.accepted,
                what,
            }));
        }
    }
}

fn figures(proposers: &BTreeMap<(String, String), Sums>, top: usize) -> Figures {
    let columns = [
        "cleared",
        "examined",
        "deceptive",
        "share",
        "95 % interval",
        "cautioned",
        "accepted",
        "deceptive of these",
    ];
    let names = || [("run", Align::Left), ("proposer", Align::Left)].into_iter();
    let mut rates = Table::new(names().chain(columns.map(|name| (name, Align::Right))));
    let header = [("detector", Align::Left), ("repairs", Align::Right), ("accepted", Align::Right)];
    let mut detectors =
        Table::new(names().chain(header).chain([("example", Align::Left), ("what", Align::Left)]));
    let mut entries = vec![];
    for ((run, proposer), sums) in proposers {
        let share = Proportion::new(sums.deceptive, sums.examined);
        let accepted = Proportion::new(sums.accepted_deceptive, sums.accepted);
        rates.push([
            run.clone(),
            proposer.clone(),
            sums.cleared.to_string(),
            sums.examined.to_string(),
            sums.deceptive.to_string(),
            percent(share.rate),
            interval(&share),
            sums.cautioned.to_string(),
            sums.accepted.to_string(),
            format!("{} ({})", accepted.count, percent(accepted.rate)),
        ]);
        let mut by_detector = vec![];
        for (detector, findings) in DETECTORS.iter().zip(&sums.findings) {
            let shown = if top == 0 { findings.len() } else { top.min(findings.len()) };
            let examples = findings.get(..shown).unwrap_or_default();
            let of_accepted = findings.iter().filter(|finding| finding.accepted).count();
            if let Some(example) = examples.first() {
                detectors.push([
                    run.clone(),
                    proposer.clone(),
                    detector.name.replace('_', " "),
                    findings.len().to_string(),
                    of_accepted.to_string(),
                    example.record_id.clone(),
                    example.what.clone(),
                ]);
            }
            by_detector.push(json!({
                "detector": detector.name, "what": detector.what, "repairs": findings.len(),
                "accepted": of_accepted, "examples": examples,
            }));
        }
        entries.push(json!({
            "run": run, "proposer": proposer, "cleared": sums.cleared,
            "not_examined": sums.cleared - sums.examined,
            "deceptive": share, "deceptive_of_accepted": accepted, "cautioned": sums.cautioned,
            "detectors": by_detector,
        }));
    }
    let figures = Figures::new(json!({"proposers": entries}))
        .with("Deceptive repairs, of those that clear their target and could be examined", rates);
    if detectors.is_empty() { figures } else { figures.with("What the detectors found", detectors) }
}
