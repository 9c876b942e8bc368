//! The files of a report: a page, Markdown, LaTeX, CSV, figures, and a manifest.

mod html;
mod markdown;
mod page;
mod tex;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::block::{Block, Report};
use crate::load::files::sha256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Written {
    /// Path relative to the folder.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    /// In hex.
    pub(crate) sha256: String,
}

/// Writes a report into a folder, which is created if missing. Files of the same names are replaced. The manifest is
/// written last: if it exists, all its files are complete.
pub(crate) fn write(report: &Report, dir: &Path, with_pdf: bool) -> io::Result<Vec<Written>> {
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("report.html".to_owned(), page::page(report).into_bytes()),
        ("report.md".to_owned(), markdown::report(report).into_bytes()),
        ("tables.tex".to_owned(), tex::tables(report).into_bytes()),
        ("records.csv".to_owned(), report.records.table().csv().into_bytes()),
    ];
    for block in report.sections.iter().flat_map(|section| &section.blocks) {
        match block {
            Block::Table(table) => {
                files.push((format!("tables/{}.csv", table.name), table.csv().into_bytes()));
            }
            Block::Figure(figure) => {
                let drawing = &figure.drawing;
                files.push((format!("figures/{}.svg", figure.name), drawing.svg.clone().into_bytes()));
                if with_pdf {
                    files.push((format!("figures/{}.pdf", figure.name), drawing.pdf.clone()));
                }
            }
            Block::Text(_) | Block::Example(_) => {}
        }
    }
    for folder in ["tables", "figures"] {
        fs::create_dir_all(dir.join(folder)).map_err(|error| at(&dir.join(folder), &error))?;
    }
    let mut written = vec![];
    for (file, bytes) in files {
        put(&dir.join(&file), &bytes)?;
        let sha256 = sha256(&bytes);
        written.push(Written { file, bytes: bytes.len() as u64, sha256 });
    }
    let manifest = json!({
        "analysis": env!("CARGO_PKG_VERSION"),
        "runs": report.runs.iter().map(|run| json!({
            "run_id": run.run_id, "version": run.version, "records": run.records, "seed": run.seed,
            "corpus_hash": run.corpus_hash, "config_hash": run.config_hash, "parts": run.parts,
        })).collect::<Vec<_>>(),
        "files": written,
    });
    put(&dir.join("manifest.json"), cli_support::output::json(&manifest).as_bytes())?;
    Ok(written)
}

/// Replaces a file atomically.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let half: PathBuf = path.with_extension("part");
    fs::write(&half, bytes).and_then(|()| fs::rename(&half, path)).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
