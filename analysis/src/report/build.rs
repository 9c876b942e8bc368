//! Builds the report of runs.

use super::block::{Headline, Lead, Report, Section};
use super::options::Options;
use super::parts;
use super::records::Records;
use super::run::Run;
use crate::load::AnalysisError;
use crate::load::Results;
use crate::metrics::significance;

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
    if let [before, after, ..] = runs.as_slice() {
        sections.push(parts::comparison::section(before, after, runs.len()));
    }
    if let Some((_, findings)) = &options.audit {
        sections.push(parts::audit::section(findings));
    }
    sections.push(parts::provenance::section(&runs, results, options));
    let names: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    Ok(Report {
        title: format!("Automatic repair of Kubernetes manifests: {}", title(&names)),
        headlines: runs.iter().map(|run| headline(run, options)).collect(),
        sections,
        records: Records::read(results, options.rows)?,
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

fn headline(run: &Run, options: &Options) -> Headline {
    let metrics = &run.metrics;
    let statuses = metrics.status.iter().filter(|(status, count)| **status != "accepted" && **count > 0);
    let mut others: Vec<Lead> = statuses
        .map(|(status, count)| Lead {
            what: status.replace('_', " "),
            count: *count,
            mostly: mostly(run, status),
        })
        .collect();
    others.sort_by_key(|lead| std::cmp::Reverse(lead.count));
    Headline {
        run: run.id.clone(),
        accepted: metrics.accepted_of_all,
        by_document: significance::by_document(run.cases.iter(), options.seed).0,
        documents: metrics.documents,
        of_valid: metrics.accepted_of_valid,
        judged_by: metrics.judges(),
        others,
    }
}

/// The most frequent reason of a status.
fn mostly(run: &Run, status: &str) -> Option<(String, u64)> {
    let mut reasons: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for group in run.failures.groups.iter().filter(|group| group.status == status) {
        *reasons.entry(&group.reason).or_default() += group.count;
    }
    let most = reasons.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(a.0)))?;
    Some((most.0.to_owned(), most.1))
}
