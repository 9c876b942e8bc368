//! `coordinator synth`: a synthetic corpus.

use std::path::PathBuf;

use cli_support::{Exit, output};
use corpus::synth;

/// Writes a synthetic corpus: `detections.json.gz` and, for --documents manifest, `manifests.tar.gz`.
///
/// Manifests of every kind and size; every policy is violated somewhere, and one document in a hundred is hostile. The same
/// number and seed give the same files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of records
    #[arg(long, value_name = "N", default_value_t = 13_656)]
    records: u64,
    /// Seed of the corpus
    #[arg(long, value_name = "S", default_value_t = 1337)]
    seed: u64,
    /// Folder to write to; it is created where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the corpus.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let written = synth::write(args.records, args.seed, &args.out)?;
    output::say(&format!(
        "{} records about {} documents ({} hostile) in {}",
        written.records,
        written.documents,
        written.hostile,
        args.out.display()
    ));
    output::say(&format!("next: coordinator run --corpus {}", args.out.join("detections.json.gz").display()));
    Ok(Exit::Fine)
}
