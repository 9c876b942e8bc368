//! `analysis risk`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli_support::Exit;
use cli_support::failure::WithHint as _;
use cli_support::output::{self, Align, Table};
use serde_json::{Value, json};

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::render::Figures;
use crate::risk::feeds::{self, Feed};
use crate::risk::{Feeds, entries, fetch};

/// File names of the feeds in their folder; the first is the one that `--fetch` writes.
const KEV: [&str; 2] = ["kev.json", "kev.json.gz"];
const EPSS: [&str; 2] = ["epss.csv.gz", "epss.csv"];

pub(crate) fn run(args: &cli::Risk) -> anyhow::Result<Exit> {
    if let (true, Some(folder)) = (args.fetch, &args.feeds) {
        refresh(args, folder)?;
    }
    let kept = |given: &Option<PathBuf>, names: [&str; 2]| {
        let folder = args.feeds.as_deref().filter(|_| given.is_none());
        let there = folder.into_iter().flat_map(|folder| names.map(|name| folder.join(name)));
        given.clone().or_else(|| there.into_iter().find(|path| path.is_file()))
    };
    let mut known = Feeds::default();
    let mut used: Vec<Feed> = vec![];
    if let Some(file) = kept(&args.kev, KEV) {
        let (ids, feed) = feeds::kev(&file)?;
        known.kev = ids;
        used.push(feed);
    }
    if let Some(file) = kept(&args.epss, EPSS) {
        let (scores, feed) = feeds::epss(&file)?;
        known.epss = scores;
        used.push(feed);
    }
    for scan in &args.scan {
        let (found, feed) = feeds::scan(&scan.name, Path::new(&scan.place))?;
        known.scans.push(found);
        used.push(feed);
    }
    for feed in used.iter().filter(|feed| feed.ignored > 0) {
        output::say(&format!("{}: {} entries without a known id are ignored", feed.file, feed.ignored));
    }
    let value = entries(&files::objects(&args.detections)?, &known);
    show(&figures(value, &used), &args.print)
}

/// Without feeds the JSON is the paper's list; with them it also names the feeds.
fn figures(value: Value, used: &[Feed]) -> Figures {
    let mut table = Table::new([("id", Align::Left), ("risk", Align::Right), ("kev", Align::Left)]);
    for entry in value.as_array().into_iter().flatten() {
        let cell = |name: &str| match entry.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        table.push(["id", "risk", "kev"].map(cell));
    }
    let title = format!("Risk by record (n = {})", table.rows().len());
    if used.is_empty() {
        return Figures::new(value).with(title, table);
    }
    let names = ["feed", "date", "entries", "sha256", "file"].map(|name| (name, Align::Left));
    let mut sources = Table::new(names);
    for feed in used {
        let date = feed.date.clone().unwrap_or_else(|| "unknown".to_owned());
        sources.push([&feed.feed, &date, &feed.entries.to_string(), &feed.sha256, &feed.file]);
    }
    let sources_title = format!("Feeds and scans used (n = {})", used.len());
    Figures::new(json!({"feeds": used, "entries": value})).with(title, table).with(sources_title, sources)
}

fn refresh(args: &cli::Risk, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (url, name) in [(&args.kev_url, KEV[0]), (&args.epss_url, EPSS[0])] {
        let path = folder.join(name);
        runtime
            .block_on(fetch(url, &path))
            .hint("without --fetch the existing feeds are read, and the network is not used")?;
        output::say(&format!("fetched {} from {url}", path.display()));
    }
    Ok(())
}
