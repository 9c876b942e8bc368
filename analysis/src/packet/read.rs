//! Reads the accepted repairs of a run, by document, with the texts of those that the packet shows.

use std::collections::HashMap;
use std::sync::Arc;

use domain::config::ProposerMode;
use domain::outcome::Caution;
use domain::record::Slice;
use results::corpus_copy::{CorpusReader, FileError};
use results::layout::CORPUS_FILE;
use results::schema;
use sensitive::Masks;
use serde_json::Value;

use super::radius::{Radius, replaces_pods};
use super::revert::revert;
use super::windows::windows;
use super::{Note, Options, Packet, Repair, Revert, Unit};
use crate::load::cases::{self, Case};
use crate::load::rows::{Gates, Texts, rows};
use crate::load::{AnalysisError, Results};
use crate::metrics::Extended;
use crate::report::documents::document;
use crate::schedule::{Replicas, RiskEntries, RolloutTimes, Terms, Weights, from_cases};

/// Bytes of a patch, of its revert and of companions that a packet holds; longer ones are named by their length.
const LONGEST: usize = 32 << 10;

/// Repairs of a document that a packet holds; the others are counted.
const REPAIRS: usize = 40;

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("{0} is not the folder of one run")]
    NoRun(String),
    #[error("run {0} accepted no repair: there is nothing to review")]
    Nothing(String),
    #[error(transparent)]
    Rows(#[from] AnalysisError),
    #[error("the copy of the corpus cannot be read")]
    Corpus(#[from] FileError),
}

rows! {
    struct Row<'a> {
        record: &'a str = [schema::RECORD_ID],
        policy: &'a str = [schema::POLICY_ID],
        position: u64 = [schema::POSITION],
        accepted: bool = [schema::ACCEPTED],
        manifest: &'a str = [schema::MANIFEST_PATH],
        namespace: &'a str = [schema::NAMESPACE],
        name: &'a str = [schema::NAME],
        source: &'a str = [schema::SOURCE],
        gates: Gates = Gates::COLUMNS,
        cautions: Texts<'a> = [schema::CAUTIONS],
        collateral_ops: u32 = [schema::COLLATERAL_OPS],
        companions: Option<&'a str> = [schema::COMPANIONS],
        patch: Option<&'a str> = [schema::PATCH],
        patched: Option<&'a str> = [schema::PATCHED_YAML],
    }
}

/// Reads the packet of the run in `results`, which were loaded from `place`.
pub(crate) fn read(
    results: &Results,
    place: &str,
    (risk, times, replicas): (&RiskEntries, &RolloutTimes, &Replicas),
    options: &Options,
) -> Result<Packet, PacketError> {
    let mut folders = results.folders();
    let (Some(folder), None) = (folders.next(), folders.next()) else {
        return Err(PacketError::NoRun(place.to_owned()));
    };
    let run_id = results.runs().next().map_or_else(String::new, |run| run.run_id.to_string());
    let cases = cases::read(results)?;
    let metrics = Extended::compute(results)?;
    let mut units = units(&cases, risk, times, replicas);
    if units.is_empty() {
        return Err(PacketError::Nothing(run_id));
    }
    let documents = units.len();
    units.truncate(options.most.max(1));
    let corpus = folder.join(CORPUS_FILE);
    let corpus = if corpus.is_file() { Some(CorpusReader::open(&corpus)?) } else { None };
    fill(results, &mut units, corpus.as_ref())?;
    let units: Vec<Unit> = units.into_iter().map(|draft| draft.unit).collect();
    Ok(Packet {
        run_id,
        judged_by: metrics.judges(),
        records: metrics.records,
        accepted: metrics.accepted_of_all.count,
        documents,
        left_out: documents - units.len(),
        windows: windows(&units, options.window),
        units,
    })
}

/// A document before its texts are read.
struct Draft {
    unit: Unit,
    /// Its repairs: record and policy, with the risk.
    records: Vec<(String, String, f64)>,
}

/// The documents of the accepted repairs in the order of the rollout: the smallest blast radius first, then by score.
fn units(cases: &[Case], risk: &RiskEntries, times: &RolloutTimes, replicas: &Replicas) -> Vec<Draft> {
    let weights = Weights::default();
    let mut drafts: Vec<(Draft, Terms)> = vec![];
    let mut places: HashMap<&str, usize> = HashMap::new();
    let accepted = cases.iter().filter(|case| case.accepted);
    for (candidate, case) in from_cases(cases, risk, times, replicas).into_iter().zip(accepted) {
        let terms = candidate.terms;
        let record = (case.id.clone(), case.policy.to_string(), terms.risk);
        let key = case.document.as_deref().unwrap_or(&case.id);
        if let Some((draft, sum)) = places.get(key).and_then(|place| drafts.get_mut(*place)) {
            draft.records.push(record);
            // One rollout for all of them.
            *sum = Terms {
                risk: sum.risk + terms.risk,
                probability: sum.probability.min(terms.probability),
                expected_time: sum.expected_time.max(terms.expected_time),
                kev: sum.kev || terms.kev,
                ..*sum
            };
            continue;
        }
        places.insert(key, drafts.len());
        let unit = Unit {
            number: 0,
            document: case.document.as_deref().map(str::to_owned),
            manifest: String::new(),
            kind: case.kind.to_string(),
            namespace: String::new(),
            name: String::new(),
            radius: Radius::of(&case.kind),
            replicas: replicas.of(&case.run, &case.id),
            replaces_pods: false,
            risk: 0.0,
            score: 0.0,
            minutes: 0.0,
            repairs: vec![],
            repairs_left_out: 0,
        };
        drafts.push((Draft { unit, records: vec![record] }, terms));
    }
    let mut sorted: Vec<Draft> = drafts
        .into_iter()
        .map(|(mut draft, terms)| {
            draft.unit.risk = terms.risk;
            draft.unit.score = weights.score(&terms);
            draft.unit.minutes = terms.expected_time;
            draft
        })
        .collect();
    // The sort is stable: of equals the first in the corpus comes first.
    sorted.sort_by(|a, b| {
        a.unit.radius.cmp(&b.unit.radius).then_with(|| b.unit.score.total_cmp(&a.unit.score))
    });
    for (place, draft) in sorted.iter_mut().enumerate() {
        draft.unit.number = place + 1;
    }
    sorted
}

/// Reads what is shown of these repairs.
fn fill(results: &Results, units: &mut [Draft], corpus: Option<&CorpusReader>) -> Result<(), PacketError> {
    let mut wanted: HashMap<(String, String), (usize, f64)> = HashMap::new();
    for (place, draft) in units.iter().enumerate() {
        for (record, policy, risk) in &draft.records {
            wanted.insert((record.clone(), policy.clone()), (place, *risk));
        }
    }
    let mut trouble = None;
    let mut originals = Originals { corpus, start: 0, slice: None };
    results.each::<Row>(|row| {
        let key = (row.record.to_owned(), row.policy.to_owned());
        let Some((place, risk)) = wanted.get(&key).filter(|_| row.accepted) else { return };
        let Some(draft) = units.get_mut(*place) else { return };
        if draft.unit.repairs.len() >= REPAIRS {
            draft.unit.repairs_left_out += 1;
            return;
        }
        let text = match originals.text(row.position, row.record) {
            Ok(text) => text,
            Err(error) => {
                trouble.get_or_insert(error);
                None
            }
        };
        let unit = &mut draft.unit;
        if unit.repairs.is_empty() {
            row.manifest.clone_into(&mut unit.manifest);
            row.namespace.clone_into(&mut unit.namespace);
            row.name.clone_into(&mut unit.name);
        }
        let patch: Option<Value> = row.patch.and_then(|patch| serde_json::from_str(patch).ok());
        let paths = patch.iter().flat_map(|patch| patch.as_array().into_iter().flatten());
        let paths = paths.filter_map(|op| op.get("path").and_then(Value::as_str));
        unit.replaces_pods |= replaces_pods(&unit.kind, paths);
        unit.repairs.push(repair(&row, *risk, text.as_deref(), patch));
    })?;
    match trouble {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// The documents of a run's copy of its corpus, read by slices: rows come in its order.
struct Originals<'a> {
    corpus: Option<&'a CorpusReader>,
    start: u64,
    slice: Option<Slice>,
}

impl Originals<'_> {
    /// Records of a slice.
    const RECORDS: u64 = 500;

    /// The document of a record; `None`: there is no copy, or it has another record at this position.
    fn text(&mut self, position: u64, record: &str) -> Result<Option<Arc<str>>, FileError> {
        let Some(corpus) = self.corpus else { return Ok(None) };
        let start = position - position % Self::RECORDS;
        if self.slice.is_none() || self.start != start {
            self.slice = Some(corpus.slice(start, Self::RECORDS)?);
            self.start = start;
        }
        let Some(slice) = &self.slice else { return Ok(None) };
        let place = usize::try_from(position - start).unwrap_or(usize::MAX);
        let found = slice.records.get(place).filter(|found| found.id.as_str() == record);
        let document = found.and_then(|found| slice.documents.iter().find(|of| of.hash == found.document));
        Ok(document.map(|document| Arc::clone(&document.text)))
    }
}

fn repair(row: &Row<'_>, risk: f64, text: Option<&str>, mut patch: Option<Value>) -> Repair {
    let value: Option<Value> = text.and_then(|text| serde_saphyr::from_str(text).ok());
    let mut masks = Masks::default();
    let effect = document(text, value.as_ref(), row.patch, row.patched, &mut masks);
    let mut back = match (value.as_ref(), row.patch) {
        (Some(value), Some(patch)) => revert(value, patch),
        (None, _) => Revert::None("the run has no copy of the document".to_owned()),
        (_, None) => Revert::None("there is no patch".to_owned()),
    };
    let base = value.as_ref().unwrap_or(&Value::Null);
    let mut has_masks = false;
    let mut mask = |ops: &mut Value, masks: &mut Masks| {
        let before = ops.clone();
        masks.mask_patch(ops, base);
        has_masks |= before != *ops;
    };
    if let Some(patch) = &mut patch {
        mask(patch, &mut masks);
    }
    if let Revert::Proven(ops) = &mut back {
        mask(ops, &mut masks);
    }
    let mut companions: Option<Value> = row.companions.and_then(|text| serde_json::from_str(text).ok());
    for object in companions.iter_mut().flat_map(|list| list.as_array_mut().into_iter().flatten()) {
        let before = object.clone();
        masks.mask(object);
        has_masks |= before != *object;
    }
    if let Revert::Proven(ops) = &back
        && is_long(ops)
    {
        back = Revert::None(format!("it is longer than {LONGEST} bytes"));
    }
    let caution = |code: &str| {
        let known = Caution::parse(code);
        let meaning = known.map_or("not known to this program", Caution::sentence);
        Note { caution: code.to_owned(), meaning: meaning.to_owned() }
    };
    Repair {
        record_id: row.record.to_owned(),
        policy_id: row.policy.to_owned(),
        source: row.source.to_owned(),
        risk,
        verdicts: row.gates.each().into(),
        cautions: row.cautions.iter().map(caution).collect(),
        cautions_known: row.source == ProposerMode::Rules.as_str(),
        collateral_ops: row.collateral_ops,
        patch: patch.filter(|patch| !is_long(patch)),
        revert: back,
        companions: companions.filter(|companions| !is_long(companions)),
        has_masks,
        effect,
    }
}

fn is_long(value: &Value) -> bool {
    value.to_string().len() > LONGEST
}
