//! Builds the report of runs.

use super::block::{Report, Section};
use super::head;
use super::options::Options;
use super::parts;
use super::records;
use super::run::Run;
use crate::load::AnalysisError;
use crate::load::Results;
use crate::metrics::diff::diff;

/// Builds the report of all runs of some results. Fails if a record occurs twice.
pub(crate) fn build(results: &Results, options: &Options) -> Result<Report, AnalysisError> {
    let runs = Run::all(results)?;
    let mut sections = vec![];
    for part in parts::OF_A_RUN {
        let mut blocks = vec![];
        for run in &runs {
            blocks.extend((part.of)(run, options)?);
        }
        sections.push(Section { id: part.id, title: part.title, blocks });
    }
    let mut versus = None;
    if let [before, after, ..] = runs.as_slice() {
        let compared = before.has_corpus_of(after).then(|| diff(&before.cases, &after.cases));
        versus = compared.as_ref().map(|diff| head::versus(before, after, diff));
        let section = parts::comparison::section(before, after, compared.as_ref(), runs.len());
        // What is asked of two runs comes first.
        sections.insert(0, section);
    }
    sections.push(parts::stability::section(&runs));
    if let Some((_, findings)) = &options.audit {
        sections.push(parts::audit::section(findings));
    }
    sections.push(parts::provenance::section(&runs, results, options));
    let names: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    Ok(Report {
        title: format!("Automatic repair of Kubernetes manifests: {}", title(&names)),
        versus,
        headlines: runs.iter().map(|run| head::headline(run, options)).collect(),
        sections,
        records: records::read(results, &runs, options.rows)?,
        runs: runs.iter().filter_map(|run| run.file.as_ref()).map(|(_, file)| file.clone()).collect(),
    })
}

fn title(names: &[&str]) -> String {
    match names {
        [] => "no records".to_owned(),
        [one] => format!("run {one}"),
        [first, second] => format!("runs {first} and {second}"),
        [first, rest @ ..] => format!("run {first} and {} more", rest.len()),
    }
}
