//! `analysis risk`.

use std::path::Path;

use analysis::files;
use analysis::render::Figures;
use analysis::risk::{Feeds, entries, feeds};
use console::Exit;
use console::output::{Align, Table};
use serde_json::Value;

use super::show;
use crate::cli;

pub(super) fn run(args: &cli::Risk) -> anyhow::Result<Exit> {
    let mut known = Feeds::default();
    if let Some(file) = &args.kev {
        known.kev = feeds::kev(file)?;
    }
    if let Some(file) = &args.epss {
        known.epss = feeds::epss(file)?;
    }
    for scan in &args.scan {
        known.scans.insert(scan.name.clone(), feeds::scan(Path::new(&scan.place))?);
    }
    let value = entries(&files::objects(&args.detections)?, &known);
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
    show(&Figures::new(value).with(title, table), &args.print)
}
