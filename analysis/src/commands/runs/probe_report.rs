//! `analysis probe-report`.

use anyhow::{Context as _, bail};
use cli_support::Exit;

use crate::cli;
use crate::commands::print::show;
use crate::load::files;
use crate::metrics::probe_report::{chart, report};

pub(crate) fn run(args: &cli::ProbeReport) -> anyhow::Result<Exit> {
    let mut probes = vec![];
    for file in &args.files {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        probes.push((name, files::json(file)?));
    }
    if let Some(path) = &args.svg {
        let [(name, probe)] = probes.as_slice() else {
            bail!("--svg draws a single probe, {} were given", probes.len());
        };
        let Some(drawing) = chart(probe) else {
            bail!("{name} has no steps with answered calls, so there is nothing to draw");
        };
        let is_pdf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pdf"));
        let bytes = if is_pdf { drawing.pdf } else { drawing.svg.into_bytes() };
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    show(&report(&probes), &args.print)
}
