//! `analysis probe-report`.

use console::Exit;

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::metrics::probe_report::report;

pub(crate) fn run(args: &cli::ProbeReport) -> anyhow::Result<Exit> {
    let mut probes = vec![];
    for file in &args.files {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        probes.push((name, files::json(file)?));
    }
    show(&report(&probes), &args.print)
}
