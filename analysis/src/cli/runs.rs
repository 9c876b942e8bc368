//! Arguments of the commands that compute from the rows of runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cli_support::Format;

use super::args::{Input, Print, Runs};

#[derive(Debug, Args)]
pub(crate) struct Metrics {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Form of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Only the paper's keys
    #[arg(long)]
    pub(crate) published: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Failures {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Form of the output; CSV has one line for each combination of gate, policy, fault, kind and reason
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Which records count as failures
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS",
          default_values_t = [Ended::Rejected, Ended::Error, Ended::NeedsReview])]
    pub(crate) status: Vec<Ended>,
    /// Lines of each text table; 0 for all
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) top: usize,
    /// Print a table of the paper's taxonomy of rejected records instead
    #[arg(long, value_enum, value_name = "TABLE")]
    pub(crate) taxonomy: Option<TaxonomyTable>,
    /// Name of the data set in a taxonomy table [default: the run's id]
    #[arg(long, requires = "taxonomy")]
    pub(crate) label: Option<String>,
}

/// The status of a record that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// A gate rejected it
    Rejected,
    /// It could not be processed
    Error,
    /// A correct repair needs a person
    NeedsReview,
    /// There was nothing to fix
    NotApplicable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaxonomyTable {
    /// Normalised messages
    Messages,
    /// Judged, accepted and rejected
    Summary,
    /// Rejected records by policy
    Policies,
}

#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// US dollars for a million tokens of prompts
    #[arg(long, value_name = "USD", requires = "price_completion")]
    pub(crate) price_prompt: Option<f64>,
    /// US dollars for a million tokens of answers
    #[arg(long, value_name = "USD", requires = "price_prompt")]
    pub(crate) price_completion: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct Ablation {
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// Gates whose verdicts are ignored, as name:gate,gate of policy, safety, kubectl, rescan [default: the full
    /// verifier, and one scenario without each gate]
    #[arg(long, value_name = "NAME:GATES")]
    pub(crate) scenario: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Significance {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(value_name = "PATH", required_unless_present = "counts")]
    pub(crate) paths: Vec<String>,
    /// Counts instead of runs: CSV with corpus, accepted, total
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    pub(crate) counts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeReport {
    /// Output of `coordinator probe` (JSON)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Also draw latency over calls in flight into this SVG file, or PDF by its name (X.pdf); of a single probe
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The run before
    #[arg(value_name = "RUN")]
    pub(crate) before: String,
    /// The run after
    #[arg(value_name = "RUN")]
    pub(crate) after: String,
    /// Minimum accepted share of the run after (0 to 1) [default: no fewer accepted records than before]
    #[arg(long, value_name = "SHARE")]
    pub(crate) fail_under: Option<f64>,
    /// Compare the records that both runs have, although the corpora differ
    #[arg(long)]
    pub(crate) other_corpus: bool,
    /// Lines of the table of changes; 0 for all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Cite {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Form of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: CiteForm,
}

/// The form in which a run is cited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiteForm {
    /// Lines for people
    #[default]
    Text,
    /// One JSON value
    Json,
    /// A Markdown table
    Md,
    /// A LaTeX table (booktabs, array, longtable)
    #[value(alias = "latex")]
    Tex,
    /// An entry for BibTeX, and a sentence that cites it
    Bibtex,
}

#[derive(Debug, Args)]
pub(crate) struct Fingerprint {
    #[command(flatten)]
    pub(crate) input: Input,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Output folder; created when missing
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Write .json.gz instead
    #[arg(long)]
    pub(crate) gz: bool,
    /// Write instead what an API server answered: verdicts.jsonl.gz, a line for each distinct document and repair, and
    /// verdicts.json, which says how it was asked
    #[arg(long, conflicts_with = "gz")]
    pub(crate) verdicts: bool,
}
