//! The patches of records: `worker verify --detections FILE --patches FILE`.
//!
//! Patches are joined by id; of several with one id the last counts.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use api_server::Definitions;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use domain::config::{Documents, RunConfig};
use domain::ids::DocumentHash;
use domain::outcome::{Fault, Gate, Proposal};
use domain::patch::Patch;
use domain::policy::PolicyName;
use domain::published;
use domain::record::{Record, SourceDocument};
use engine::document::Document;
use engine::verify::{Candidate, examine};
use results::input::json::Elements;
use serde_json::Value;

use super::rows::Rows;
use super::verdicts::{Examined, Judged, Proposed, Verdicts};
use crate::commands::detect::counted;
use crate::server_gate::{ServerArgs, ServerGate};
use crate::server_judge::definitions;
use crate::verifier::verify;
use corpus::{Source, read};

/// Where the records and their patches are.
pub(super) struct Files<'a> {
    pub(super) detections: &'a Path,
    pub(super) patches: &'a str,
    pub(super) manifests: Option<PathBuf>,
}

/// Verifies every patch and writes the verdicts.
pub(super) fn run(
    files: Files<'_>,
    server: &ServerArgs,
    out: Rows,
    mut config: RunConfig,
) -> anyhow::Result<Exit> {
    if files.manifests.is_some() {
        config.documents = Documents::Manifest;
    }
    let Entries { patches, without_id } = patches(files.patches, &config)?;
    let source = Source { corpus: files.detections.to_owned(), manifests: files.manifests };
    let gate = server.source().map(|server| open(&server, &source, &config)).transpose()?;
    if gate.is_some() {
        // The server is the schema gate.
        config.verifier.disabled_gates.insert(Gate::Schema);
    }
    let mut verifier = Verifier { config: &config, start: Instant::now(), last: None };
    let mut verdicts = Verdicts::begin(out, gate, config.verifier.gates);
    let mut open: HashSet<&str> = patches.keys().map(String::as_str).collect();
    read::<anyhow::Error>(&source, &config, &mut |record, source| {
        let entry = patches.get(record.id.as_str());
        open.remove(record.id.as_str());
        let judged = verifier.verify(&record, &source, entry);
        verdicts.push(&record, &source.text, entry.and_then(|entry| entry.as_ref().ok()), judged)
    })?;
    let exit = verdicts.end()?;
    all_taken(files.patches, open, without_id)?;
    Ok(exit)
}

/// Most ids that a message names.
const NAMED: usize = 10;

/// Fails where patches have no record: they were judged by nothing.
fn all_taken(path: &str, open: HashSet<&str>, without_id: u64) -> anyhow::Result<()> {
    let mut ids: Vec<&str> = open.into_iter().collect();
    ids.sort_unstable();
    let mut what = Vec::new();
    if !ids.is_empty() {
        let named = ids.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = ids.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        what.push(format!("no record has the id of {}: {named}{more}", counted(ids.len() as u64, "patch")));
    }
    if without_id > 0 {
        let entries = if without_id == 1 { "entry has" } else { "entries have" };
        what.push(format!("{without_id} {entries} no id"));
    }
    if what.is_empty() {
        return Ok(());
    }
    Err(anyhow::anyhow!("{path}: {}", what.join("; ")))
        .hint("each patch needs the id of a record of --detections; `worker verify --patch PATCH FILE` judges one without")
}

/// Connects to a server; a control plane is prepared with the definitions of the corpus.
fn open(server: &api_server::Source, source: &Source, config: &RunConfig) -> anyhow::Result<ServerGate> {
    let definitions = if matches!(server, api_server::Source::ControlPlane(_)) {
        definitions(source, config)?
    } else {
        Definitions::default()
    };
    ServerGate::open(server, config, &definitions)
}

/// What a file of patches holds for a record: its patch, or why its entry cannot be read.
type Entry = Result<Arc<Proposed>, String>;

/// What a file of patches holds.
struct Entries {
    patches: HashMap<String, Entry>,
    /// Entries that name no record.
    without_id: u64,
}

/// Every patch by its record's id, as JSON text. A row without a patch of its own shares that of an earlier row, which it
/// names in `same_as`.
fn patches(path: &str, config: &RunConfig) -> anyhow::Result<Entries> {
    let mut found: HashMap<String, Entry> = HashMap::new();
    let mut without_id = 0;
    let mut elements = Elements::open(path, &config.limits)
        .with_context(|| format!("cannot read the patches {}", Path::new(path).display()))?
        .of_patches();
    while let Some(element) = elements.next_element::<published::Patch>()? {
        match element.content {
            Ok(entry) => {
                let shared = entry.rest.get("same_as").and_then(Value::as_str);
                if let Some(shared) = shared.filter(|_| entry.patch.is_null()).and_then(|id| found.get(id)) {
                    let shared = shared.clone();
                    found.insert(entry.id, shared);
                    continue;
                }
                let companions = entry.rest.get("companions").and_then(Value::as_array).cloned();
                let companions = companions.unwrap_or_default();
                let proposed = Proposed { patch: entry.patch.to_string(), companions };
                found.insert(entry.id, Ok(Arc::new(proposed)));
            }
            Err(malformed) => {
                let message = format!("{path}: {}", malformed.message);
                output::say(&message);
                match malformed.id {
                    Some(id) => drop(found.insert(id, Err(message))),
                    None => without_id += 1,
                }
            }
        }
    }
    Ok(Entries { patches: found, without_id })
}

/// Verifies record after record; consecutive records of one document share its examination.
struct Verifier<'c> {
    config: &'c RunConfig,
    start: Instant,
    /// The last document; `Err`: why it cannot be read.
    last: Option<(DocumentHash, Result<Arc<Examined>, String>)>,
}

impl Verifier<'_> {
    fn verify(&mut self, record: &Record, source: &SourceDocument, entry: Option<&Entry>) -> Judged {
        if let Some(problem) = &record.problem {
            return Judged::failed(Fault::Document, problem.message.clone());
        }
        let proposed = match entry {
            Some(Ok(proposed)) => proposed,
            Some(Err(unreadable)) => return Judged::failed(Fault::Proposer, unreadable.clone()),
            None => return Judged::without_patch(),
        };
        let patch = match Patch::from_json(&proposed.patch) {
            Ok(patch) => patch,
            Err(error) => {
                return Judged::failed(
                    Fault::Proposer,
                    format!("the patch is not a valid JSON Patch: {error}"),
                );
            }
        };
        let proposal = Proposal { patch, companions: proposed.companions.clone(), ..Proposal::default() };
        if self.last.as_ref().is_none_or(|(hash, _)| *hash != source.hash) {
            self.last = Some((source.hash, self.examine(source)));
        }
        let policy: PolicyName = record.policy();
        let clock = || self.start.elapsed().as_secs_f64() * 1e3;
        match &self.last {
            Some((_, Ok(examined))) => {
                let candidate = Candidate {
                    document: &examined.document,
                    neighbours: &examined.neighbours,
                    before: &examined.before,
                    policy: &policy,
                    proposal: &proposal,
                };
                let start = clock();
                let verification = verify(candidate, self.config, &clock);
                Judged::of(verification, examined, clock() - start)
            }
            Some((_, Err(error))) => Judged::failed(Fault::Document, error.clone()),
            None => Judged::failed(Fault::Document, "the document was not read".to_owned()),
        }
    }

    fn examine(&self, source: &SourceDocument) -> Result<Arc<Examined>, String> {
        let document =
            Document::parse(&source.text, &self.config.limits).map_err(|error| error.to_string())?;
        let clock = || self.start.elapsed().as_secs_f64() * 1e3;
        let neighbours = source.neighbours.clone();
        let before = examine(&document, &neighbours, self.config, &clock);
        Ok(Arc::new(Examined { document, neighbours, before, release: self.config.verifier.kubernetes }))
    }
}
