//! `worker verify --detections FILE --patches FILE`: verifies every patch by the gates.
//!
//! Patches are joined by id; of several with one id the last counts. With `--control-plane` or `--kubeconfig` an API server
//! is the schema gate. Exit 0: all are accepted. 1: some are rejected.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use api_server::Definitions;
use clap::ValueEnum;
use cli_support::{Exit, output};
use domain::config::{Documents, GateProfile, RunConfig};
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

use super::propose::{Form, Rows};
use super::settings::Settings;
use super::verdicts::{Examined, Judged, Proposed, Verdicts};
use crate::server_gate::{ServerArgs, ServerGate};
use crate::server_judge::definitions;
use crate::verifier::verify;
use corpus::{Source, read};

/// Arguments of `worker verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Published detections (JSON, JSON lines, Parquet, plain or gz)
    #[arg(long, value_name = "FILE")]
    detections: PathBuf,
    /// Patches for them (JSON or JSON lines, plain or gz)
    #[arg(long, value_name = "FILE")]
    patches: String,
    /// Where the whole documents lie; they are verified instead of the records' own
    #[arg(long, value_name = "PATH")]
    manifests: Option<PathBuf>,
    /// Which gates to use [default: as configured, strict]
    #[arg(long, value_enum, value_name = "PROFILE")]
    gates: Option<Profile>,
    /// Disable a gate (may be repeated)
    #[arg(long, value_name = "GATE", value_delimiter = ',', value_parser = gate)]
    disable_gate: Vec<Gate>,
    /// How verdicts are written to stdout
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    settings: Settings,
}

/// Which gates to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// The last published gates with their defects fixed
    Strict,
    /// The gates of the published runs
    Published,
}

fn gate(text: &str) -> Result<Gate, String> {
    let known = || Gate::ALL.iter().filter(|gate| **gate != Gate::Apply);
    known().copied().find(|gate| gate.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = known().map(|gate| gate.as_str()).collect();
        format!("unknown gate; these can be disabled: {}", known.join(", "))
    })
}

/// Verifies and prints the verdicts.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut config = args.settings.load()?;
    match args.gates {
        Some(Profile::Strict) => config.verifier.gates = GateProfile::Strict,
        Some(Profile::Published) => config.verifier.gates = GateProfile::Published,
        None => {}
    }
    config.verifier.disabled_gates.extend(&args.disable_gate);
    if args.manifests.is_some() {
        config.documents = Documents::Manifest;
    }
    let patches = patches(&args.patches, &config)?;
    let source = Source { corpus: args.detections.clone(), manifests: args.manifests.clone() };
    let gate = args.server.source().map(|server| open(&server, &source, &config)).transpose()?;
    if gate.is_some() {
        // The server is the schema gate.
        config.verifier.disabled_gates.insert(Gate::Schema);
    }
    let mut verifier = Verifier { config: &config, start: Instant::now(), last: None };
    let mut verdicts = Verdicts::begin(Rows::begin(args.output), gate);
    read::<anyhow::Error>(&source, &config, &mut |record, source| {
        let entry = patches.get(record.id.as_str());
        let judged = verifier.verify(&record, &source, entry);
        verdicts.push(&record, &source.text, entry.and_then(|entry| entry.as_ref().ok()), judged)
    })?;
    verdicts.end()
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

/// Every patch by its record's id, as JSON text. A row without a patch of its own shares that of an earlier row, which it
/// names in `same_as`.
fn patches(path: &str, config: &RunConfig) -> anyhow::Result<HashMap<String, Entry>> {
    let mut found: HashMap<String, Entry> = HashMap::new();
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
                if let Some(id) = malformed.id {
                    found.insert(id, Err(message));
                }
            }
        }
    }
    Ok(found)
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
            None => return Judged::failed(Fault::Proposer, "no patch for this record".to_owned()),
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
