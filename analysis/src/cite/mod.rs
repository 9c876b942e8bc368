//! What a paper must state about a run: n, dates, versions, the model, prices, cost, tokens, hashes.
//!
//! *Invariant*: what a run did not record or measure is null; the versions and defaults of this program do not stand in for it.

mod forms;
mod prices;
mod rows;

use std::collections::BTreeMap;
use std::time::SystemTime;

use domain::config::{ProposerMode, RunConfig};
use domain::scanner::ScannerVersions;
use results::fingerprint::fingerprint;
use results::run_file::{ImportedFrom, RunFile};
use results::scan::{Part, ScanError};
use results::schema::FORMAT_VERSION;
use serde::Serialize;

pub(crate) use forms::bibtex;
use prices::Priced;
use rows::{Sums, Tokens};

use crate::load::{AnalysisError, Results};
use crate::metrics::Extended;
use crate::stats::Proportion;

/// Why a run cannot be cited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CiteError {
    #[error("{0} is not the folder of one run: its run.json says what a paper must state")]
    NoRun(String),
    #[error(transparent)]
    Rows(#[from] AnalysisError),
    #[error(transparent)]
    Fingerprint(#[from] ScanError),
}

/// What a paper must state about a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Citation {
    pub(crate) run_id: String,
    pub(crate) state: &'static str,
    /// RFC 3339.
    pub(crate) planned: Option<String>,
    pub(crate) finished: Option<String>,
    pub(crate) records: Records,
    pub(crate) versions: Versions,
    pub(crate) judged: Judgement,
    pub(crate) proposer: Proposer,
    pub(crate) cost: Cost,
    pub(crate) tokens: Tokens,
    pub(crate) work: Work,
    pub(crate) hashes: Hashes,
}

/// How many records, and how many were accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Records {
    /// Records of the run.
    pub(crate) n: u64,
    /// Of them, those with a row here; fewer where the run is not finished.
    pub(crate) read: u64,
    /// Distinct documents.
    pub(crate) documents: u64,
    pub(crate) corpus: String,
    /// The published files of an imported run.
    pub(crate) imported_from: Option<ImportedFrom>,
    pub(crate) accepted_of_all: Proportion,
    /// Of the records whose document was valid before.
    pub(crate) accepted_of_valid: Proportion,
    pub(crate) accepted_by_source: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Versions {
    /// Of the program that ran it; of an imported run, of the program that imported it.
    pub(crate) program: String,
    /// Of the program that computes these figures.
    pub(crate) analysis: &'static str,
    /// Of `run.json`.
    pub(crate) run_format: u32,
    /// Of the columns of the results.
    pub(crate) results_format: u32,
    /// Of the protocol between coordinator and workers; a run does not record it.
    pub(crate) protocol: Option<u32>,
}

/// What judged the repairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judgement {
    /// Which policies were looked for: a catalogue or a profile. As all keys of a configuration: null for an imported run.
    pub(crate) policies: Option<String>,
    pub(crate) number_of_policies: Option<usize>,
    /// `strict`, or `published`.
    pub(crate) gates: Option<String>,
    /// What decides the schema gate.
    pub(crate) schema_depth: Option<&'static str>,
    /// The Kubernetes release whose rules the embedded schema gate has.
    pub(crate) kubernetes: Option<String>,
    /// The API server that was asked; null: none.
    pub(crate) server: Option<Server>,
    /// What decided whether documents are valid, by rows.
    pub(crate) judged_by: BTreeMap<String, u64>,
    /// Scanners besides the built-in one, with their versions.
    pub(crate) scanners: ScannerVersions,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Server {
    pub(crate) version: String,
    pub(crate) flags: String,
}

/// Who proposed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Proposer {
    /// Rows by mode.
    pub(crate) modes: BTreeMap<String, u64>,
    /// Rows by what stands around a proposal.
    pub(crate) guardrails: BTreeMap<String, u64>,
    /// The program of the mode `command`.
    pub(crate) program: Option<String>,
    /// Rows by the model that their results name.
    pub(crate) models: BTreeMap<String, u64>,
    /// Records by the model that was asked.
    pub(crate) model_requested: BTreeMap<String, u64>,
    /// Answered records by the model that answered, as the provider names it.
    pub(crate) model_served: BTreeMap<String, u64>,
    /// Answered records whose replies do not disclose the model.
    pub(crate) model_not_disclosed: u64,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) samples: Option<u32>,
    /// `None`: what the provider takes by default, or no model was asked.
    pub(crate) temperature: Option<f64>,
    pub(crate) seed: Option<u64>,
}

/// What the answers cost that the records were given. Calls without an answer are not among them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// US dollars; null where no row has a cost.
    pub(crate) usd: Option<f64>,
    /// Rows by where their cost is known from: `billed`, `table`, `unknown`.
    pub(crate) sources: BTreeMap<String, u64>,
    /// Rows without a cost, of those with tokens.
    pub(crate) rows_without: u64,
    /// The prices of the model that was asked; null: none are configured, or none was asked.
    pub(crate) prices: Option<Priced>,
}

/// What the run took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Work {
    pub(crate) workers: Option<u32>,
    pub(crate) wall_s: Option<f64>,
    pub(crate) cpu_s: Option<f64>,
    pub(crate) peak_rss_mb: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hashes {
    pub(crate) corpus: String,
    pub(crate) configuration: String,
    /// Of the outcomes, as `fingerprint` prints.
    pub(crate) fingerprint: String,
}

impl Citation {
    /// The citation of the run in `results`, which were loaded from `place`.
    pub(crate) fn of(results: &Results, place: &str) -> Result<Self, CiteError> {
        let mut runs = results.runs();
        let (Some(file), None) = (runs.next(), runs.next()) else {
            return Err(CiteError::NoRun(place.to_owned()));
        };
        results.refuse_repeats()?;
        let metrics = Extended::compute(results)?;
        let sums = Sums::of(results)?;
        let parts = results.parts().iter().map(|path| Part::File(path.clone()));
        let fingerprint = fingerprint(parts)?.to_string();
        Ok(Self::new(file, &metrics, sums, fingerprint))
    }

    fn new(file: &RunFile, metrics: &Extended, sums: Sums, fingerprint: String) -> Self {
        // The published files of an imported run do not hold its configuration: that of its `run.json` is the importer's.
        let own = file.imported_from.is_none().then_some(&file.config);
        let asked = own.filter(|config| is_model(config.proposer.mode));
        Self {
            run_id: file.run_id.to_string(),
            state: file.state.as_str(),
            planned: time(file.created_at),
            finished: time(file.finished_at),
            records: Records {
                n: file.records,
                read: metrics.records,
                documents: metrics.documents,
                corpus: file.corpus.clone(),
                imported_from: file.imported_from.clone(),
                accepted_of_all: metrics.accepted_of_all,
                accepted_of_valid: metrics.accepted_of_valid,
                accepted_by_source: metrics.accepted_by_source.clone(),
            },
            versions: Versions {
                program: file.version.clone(),
                analysis: env!("CARGO_PKG_VERSION"),
                run_format: file.format.0,
                results_format: FORMAT_VERSION,
                protocol: None,
            },
            judged: judged(file, own, metrics),
            proposer: Proposer {
                modes: sums.modes,
                guardrails: sums.guardrails,
                program: own.map(|config| config.proposer.program.clone()).filter(|name| !name.is_empty()),
                models: sums.models,
                model_requested: file.models.requested.clone(),
                model_served: file.models.served.clone(),
                model_not_disclosed: file.models.not_disclosed,
                max_attempts: own.map(|config| config.max_attempts),
                samples: asked.map(|config| config.proposer.samples),
                temperature: asked.and_then(|config| config.proposer.temperature),
                seed: own.map(|config| config.seed),
            },
            cost: Cost {
                usd: sums.cost.map(domain::budget::Usd::as_f64),
                sources: sums.cost_sources,
                rows_without: sums.rows_without_cost,
                prices: asked.and_then(prices::of),
            },
            tokens: sums.tokens,
            work: Work {
                workers: own.map(|_| file.workers),
                wall_s: own.and(file.wall_s),
                cpu_s: own.and(file.cpu_s),
                peak_rss_mb: own.and(file.peak_rss_mb),
            },
            hashes: Hashes {
                corpus: file.corpus_hash.to_string(),
                configuration: file.config_hash.to_string(),
                fingerprint,
            },
        }
    }
}

fn judged(file: &RunFile, own: Option<&RunConfig>, metrics: &Extended) -> Judgement {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned))
    };
    let policies = own.map(|config| {
        let catalogue = || word(serde_json::to_value(config.detector.catalogue)).unwrap_or_default();
        config.detector.profile.map_or_else(
            || format!("catalogue {}", catalogue()),
            |profile| format!("profile {}", profile.as_str()),
        )
    });
    Judgement {
        policies,
        number_of_policies: own.map(|config| config.detector.policies().len()),
        gates: own.and_then(|config| word(serde_json::to_value(config.verifier.gates))),
        schema_depth: own.map(|config| config.verifier.depth.as_str()),
        kubernetes: own.map(|config| config.verifier.kubernetes.to_string()),
        server: file
            .judged_by
            .as_ref()
            .map(|server| Server { version: server.version().to_owned(), flags: server.flags().to_owned() }),
        judged_by: metrics.judged_by.clone(),
        scanners: file.rescanned_by.clone(),
    }
}

/// Whether a model is asked in this mode.
const fn is_model(mode: ProposerMode) -> bool {
    matches!(mode, ProposerMode::Grok | ProposerMode::Vendor | ProposerMode::Vllm)
}

fn time(at: Option<SystemTime>) -> Option<String> {
    at.map(|at| humantime::format_rfc3339_seconds(at).to_string())
}
