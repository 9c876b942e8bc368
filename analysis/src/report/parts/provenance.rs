//! Provenance of all numbers: runs, versions, hashes, configuration.

use cli_support::output::{Align, Table};
use results::run_file::RunFile;
use serde_json::Value;

use crate::load::Results;
use crate::render::{Titled, number, thousands};
use crate::report::block::{Block, Section, table};
use crate::report::options::Options;
use crate::report::run::Run;

pub(in crate::report) fn section(runs: &[Run], results: &Results, options: &Options) -> Section {
    let mut blocks = vec![Block::Text(format!(
        "Written by analysis {} from {} Parquet files; seed of all random numbers: {}. The same results give the same \
         bytes. manifest.json contains the SHA-256 of every file of the report.",
        env!("CARGO_PKG_VERSION"),
        thousands(results.parts().len() as u64),
        options.seed
    ))];
    if let Some((folder, findings)) = &options.audit {
        let folder = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        blocks.push(Block::Text(format!(
            "Files of the paper: folder {folder}, {} numbers audited.",
            findings.len()
        )));
    }
    for run in runs {
        match &run.file {
            None => blocks.push(Block::Text(format!(
                "Run {} was read from Parquet files without its run.json: its configuration is unknown.",
                run.id
            ))),
            Some((_, file)) => {
                let facts = pairs("fact", facts(file));
                let n = facts.rows().len();
                let title = format!("Run {} (facts; n = {n})", run.id);
                blocks.push(table(run.name("provenance"), Titled { title, table: facts }));
                let config = pairs("key", config(file));
                let n = config.rows().len();
                let title = format!("Configuration of run {} (resolved; n = {n} keys)", run.id);
                blocks.push(table(run.name("configuration"), Titled { title, table: config }));
            }
        }
    }
    Section { id: "provenance", title: "Provenance", blocks }
}

fn pairs(name: &str, of: Vec<(String, String)>) -> Table {
    let mut table = Table::new([(name, Align::Left), ("value", Align::Left)]);
    for (name, value) in of {
        table.push([name, value]);
    }
    table
}

fn facts(file: &RunFile) -> Vec<(String, String)> {
    let time = |at: Option<std::time::SystemTime>| {
        at.map_or_else(|| "-".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
    };
    let mut facts = vec![
        ("state", file.state.as_str().to_owned()),
        ("software version", file.version.clone()),
        ("planned", time(file.created_at)),
        ("finished", time(file.finished_at)),
        ("records", thousands(file.records)),
        ("corpus", file.corpus.clone()),
        ("corpus hash", file.corpus_hash.to_string()),
        ("configuration hash", file.config_hash.to_string()),
        ("seed", file.seed.to_string()),
        ("shard size, records", thousands(u64::from(file.shard_size))),
        ("workers", file.workers.to_string()),
        ("wall time, s", number(file.wall_s)),
        ("CPU time, s", number(file.cpu_s)),
        ("peak memory, MB", number(file.peak_rss_mb)),
        ("parts", thousands(file.parts.len() as u64)),
    ];
    let names = |counts: &std::collections::BTreeMap<String, u64>| {
        let named = counts.iter().map(|(name, records)| format!("{name} ({} records)", thousands(*records)));
        named.collect::<Vec<_>>().join(", ")
    };
    if !file.models.is_empty() {
        let served = &file.models.served;
        facts.push(("models requested", names(&file.models.requested)));
        facts.push((
            "models that answered",
            if served.is_empty() { "not disclosed".to_owned() } else { names(served) },
        ));
        facts.push(("forms of answers", names(&file.models.answer_forms)));
    }
    if let Some(from) = &file.imported_from {
        facts.push(("imported from", from.detections.clone()));
        facts.extend(from.patches.clone().map(|patches| ("and", patches)));
        facts.extend(from.verified.clone().map(|verified| ("and", verified)));
    }
    let parts = file.parts.iter().map(|part| (format!("hash of {}", part.name), part.hash.to_string()));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(parts.take(PARTS)).collect()
}

/// Maximum number of hashes of parts in the table; run.json has all.
const PARTS: usize = 20;

fn config(file: &RunFile) -> Vec<(String, String)> {
    let mut leaves = vec![];
    if let Ok(value) = serde_json::to_value(&file.config) {
        walk(&value, String::new(), &mut leaves);
    }
    leaves
}

fn walk(value: &Value, path: String, leaves: &mut Vec<(String, String)>) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            entries.iter().for_each(|(name, value)| walk(value, under(name), leaves));
        }
        Value::String(text) => leaves.push((path, text.clone())),
        leaf => leaves.push((path, leaf.to_string())),
    }
}
