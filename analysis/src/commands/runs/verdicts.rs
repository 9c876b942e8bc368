//! `analysis export --verdicts`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use flate2::Compression;
use flate2::write::GzEncoder;
use results::corpus_copy::CorpusReader;
use serde_json::json;

use crate::load::Results;
use crate::metrics::servers::{Judged, verdicts};

/// The lines, and what is to be known about them.
const LINES: &str = "verdicts.jsonl.gz";
const ABOUT: &str = "verdicts.json";

/// Writes what a server answered about the documents of a run.
pub(super) fn write(results: &Results, corpus: &CorpusReader, to: &Path) -> anyhow::Result<Exit> {
    let judged = Judged::read(results, true)?;
    if judged.asked.is_empty() {
        return Err(anyhow::anyhow!("this run has no answers of an API server"))
            .hint("repeat it with verifier.depth: server or both");
    }
    let mut damaged = None;
    let (lines, without_text) = verdicts(&judged, |asked| {
        let slice = match corpus.slice(asked.position, 1) {
            Ok(slice) => slice,
            Err(error) => {
                damaged.get_or_insert(error);
                return None;
            }
        };
        let ours = slice.records.first().is_some_and(|record| record.id.as_str() == asked.record);
        slice.documents.into_iter().next().filter(|_| ours).map(|document| document.text.to_string())
    });
    if let Some(error) = damaged {
        return Err(error).context("cannot read the run's corpus");
    }
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let path = to.join(LINES);
    let wrong = || format!("cannot write {}", path.display());
    let mut file =
        GzEncoder::new(BufWriter::new(File::create(&path).with_context(wrong)?), Compression::default());
    for line in &lines {
        serde_json::to_writer(&mut file, line).with_context(wrong)?;
        file.write_all(b"\n").with_context(wrong)?;
    }
    file.finish().and_then(|mut file| file.flush()).with_context(wrong)?;
    let run = results.runs().next();
    let about = json!({
        "run": run.map(|run| run.run_id.as_str()),
        "corpus_hash": run.map(|run| run.corpus_hash),
        "servers": judged.versions(),
        "flags": {"dryRun": "All", "fieldValidation": "Strict"},
        "records": judged.records,
        "not_asked": judged.records - judged.asked.len() as u64,
        "without_text": without_text,
        "lines": lines.len(),
    });
    let about_path = to.join(ABOUT);
    fs::write(&about_path, format!("{about:#}\n"))
        .with_context(|| format!("cannot write {}", about_path.display()))?;
    output::say(&format!("{}: {} lines", path.display(), lines.len()));
    if without_text > 0 {
        output::say(&format!(
            "{without_text} answers are left out: the text that was asked about is not known"
        ));
    }
    Ok(Exit::Fine)
}
