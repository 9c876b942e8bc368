//! `analysis probe-report`.

use analysis::files;
use analysis::probe_report::report;
use console::Exit;

use super::print::show;
use crate::cli;

pub(super) fn run(args: &cli::ProbeReport) -> anyhow::Result<Exit> {
    let mut probes = vec![];
    for file in &args.files {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        probes.push((name, files::json(file)?));
    }
    show(&report(&probes), &args.print)
}
