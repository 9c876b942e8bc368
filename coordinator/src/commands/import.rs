//! `coordinator import`: published JSON files → a finished run.

use std::path::PathBuf;

use cli_support::{Exit, output};
use domain::ids::RunId;
use serde_json::json;

use super::run::Output;
use super::{block_on, open_results, run_id::fresh};
use crate::maintenance::import::{Files, Imported, import};

/// Makes a finished run of published JSON files, so that `analysis` treats it like any other run.
///
/// Each file may be plain or .gz. Rows follow the detections; patches and verdicts are joined by id.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The detections file
    #[arg(long, value_name = "FILE")]
    detections: PathBuf,
    /// The patches file
    #[arg(long, value_name = "FILE")]
    patches: Option<PathBuf>,
    /// The verdicts file
    #[arg(long, value_name = "FILE")]
    verified: Option<PathBuf>,
    /// Folder or object-store URL for the results
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: String,
    /// Name of the run [default: a new one]
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// How to print the closing summary
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Imports the files.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let run_id = args.run_id.clone().map_or_else(fresh, Ok)?;
    let name = |path: &PathBuf| path.display().to_string();
    let files = Files {
        detections: name(&args.detections),
        patches: args.patches.as_ref().map(name),
        verified: args.verified.as_ref().map(name),
    };
    let imported = block_on(async { import(&files, &run_id, &open_results(&args.out).await?).await })?;
    warn(&imported);
    output::print(&match args.output {
        Output::Json => output::json_line(&json(&imported)),
        Output::Text => text(&imported),
    })?;
    Ok(Exit::Fine)
}

fn json(imported: &Imported) -> serde_json::Value {
    let (run, tally) = (&imported.run_file, &imported.tally);
    json!({
        "run_id": run.run_id.as_str(),
        "path": imported.location,
        "records": run.records,
        "accepted": tally.accepted,
        "rejected": tally.rejected,
        "needs_review": tally.needs_review,
        "errors": tally.errors,
        "wall_s": run.wall_s,
        "cpu_s": run.cpu_s,
        "peak_rss_mb": run.peak_rss_mb,
        "fingerprint": imported.fingerprint,
    })
}

fn text(imported: &Imported) -> String {
    let (run, tally) = (&imported.run_file, &imported.tally);
    format!(
        "run {}: imported {} records, {} accepted, {} rejected\n  results in {place}\nnext: analysis metrics {place}\n",
        run.run_id,
        run.records,
        tally.accepted,
        tally.rejected,
        place = imported.location,
    )
}

/// Prints which entries of the files were left out.
fn warn(imported: &Imported) {
    let report = &imported.report;
    for (name, file) in
        [("detections", &report.detections), ("patches", &report.patches), ("verdicts", &report.verified)]
    {
        let left_out = file.no_objects + file.malformed;
        if left_out > 0 {
            let example = file.malformed_examples.first().map(|what| format!(": {what}")).unwrap_or_default();
            output::say(&format!(
                "{left_out} of {} entries of the {name} file are left out{example}",
                file.entries
            ));
        }
        if file.superseded > 0 {
            output::say(&format!(
                "{} entries of the {name} file are replaced by later ones of the same id",
                file.superseded
            ));
        }
    }
    for (name, ids) in
        [("patches", &report.patches_without_detection), ("verdicts", &report.verified_without_detection)]
    {
        if let Some(first) = ids.first() {
            output::say(&format!("{name} without a detection are left out, e.g. of id {first}"));
        }
    }
}
