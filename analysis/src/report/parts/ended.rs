//! Records by status, and cautions.

use cli_support::output::{Align, Table};

use crate::load::AnalysisError;
use crate::metrics::Extended;
use crate::render::chart::{Axis, Ink, Stack, stacked};
use crate::render::{Titled, interval, percent, thousands};
use crate::report::block::{Block, figure, table};
use crate::report::options::Options;
use crate::report::run::Run;
use crate::stats::Proportion;

/// Every status with its colour, in the order of the bar.
const STATUSES: [(&str, Ink); 5] = [
    ("accepted", Ink::Good),
    ("rejected", Ink::Bad),
    ("needs_review", Ink::Review),
    ("error", Ink::Broken),
    ("not_applicable", Ink::Idle),
];

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn blocks(run: &Run, _: &Options) -> Result<Vec<Block>, AnalysisError> {
    let metrics = &run.metrics;
    let columns = [("records", Align::Right), ("share", Align::Right), ("95 % interval", Align::Right)];
    let mut ended = Table::new([("status", Align::Left)].into_iter().chain(columns));
    let mut line = |name: &str, share: Proportion| {
        ended.push([name.to_owned(), thousands(share.count), percent(share.rate), interval(&share)]);
    };
    let count = |status: &str| metrics.status.get(status).copied().unwrap_or_default();
    for (status, _) in STATUSES {
        line(&status.replace('_', " "), Proportion::new(count(status), metrics.records));
    }
    for (name, share) in [
        (
            &*format!("accepted by {}, of records whose document was valid before", metrics.rules()),
            metrics.accepted_of_valid,
        ),
        ("effective, of the accepted that were verified here", metrics.effective_of_accepted),
    ]
    .into_iter()
    .filter(|(_, share)| share.of > 0)
    {
        line(&format!("{name} (n = {})", thousands(share.of)), share);
    }
    for (name, share) in other_judges(metrics) {
        line(&format!("{name} (n = {})", thousands(share.of)), share);
    }
    if let Some(model) = &metrics.model {
        for (source, count) in &metrics.accepted_by_source {
            line(&format!("accepted, by {source}"), Proportion::new(*count, metrics.records));
        }
        let asked = thousands(model.asked);
        let of_asked = |count: u64| Proportion::new(count, model.asked);
        line(
            &format!("no answer, of records a model was asked about (n = {asked})"),
            of_asked(model.unanswered),
        );
        line(
            &format!("repaired by the rules, of records a model was asked about (n = {asked})"),
            of_asked(model.by_rules),
        );
    }
    let parts: Vec<f64> = STATUSES
        .iter()
        .map(|(status, _)| Proportion::new(count(status), metrics.records).rate.unwrap_or(0.0) * 100.0)
        .collect();
    let legend: Vec<(String, Ink)> = STATUSES.map(|(name, ink)| (name.replace('_', " "), ink)).into();
    let legend: Vec<(&str, Ink)> = legend.iter().map(|(name, ink)| (name.as_str(), *ink)).collect();
    let n = thousands(metrics.records);
    let axis = Axis { title: "share of records, %".to_owned(), range: 0.0..100.0, log: false };
    let mut blocks = vec![
        figure(run.name("ended"), run.title("How records ended", "% of records", &n), "", |title| {
            stacked(title, &legend, &axis, &[Stack { label: run.id.clone(), parts }])
        }),
        table(
            run.name("ended"),
            Titled { title: run.title("How records ended", "share with Wilson interval", &n), table: ended },
        ),
    ];
    if !metrics.cautions.is_empty() {
        let mut cautions = Table::new([("caution", Align::Left), ("accepted records", Align::Right)]);
        let mut sorted: Vec<(&String, &u64)> = metrics.cautions.iter().collect();
        sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (caution, count) in sorted {
            cautions.push([caution.replace('_', " "), thousands(*count)]);
        }
        let accepted = thousands(metrics.accepted_of_all.count);
        let title = run.title("Cautions on accepted repairs", "records", accepted);
        blocks.push(table(run.name("cautions"), Titled { title, table: cautions }));
    }
    Ok(blocks)
}
/// What servers and other scanners made of the same records.
fn other_judges(metrics: &Extended) -> Vec<(String, Proportion)> {
    let server = metrics.server_disagrees;
    let server =
        server.map(|share| ("server and embedded rules disagree, of records asked".to_owned(), share));
    let tools = metrics.rescanned_by.iter().flat_map(|(tool, rescan)| {
        [
            (format!("target cleared for {tool}, of the accepted that it had found"), rescan.cleared),
            (format!("new findings of {tool}, of the accepted that it judged"), rescan.with_new),
        ]
    });
    server.into_iter().chain(tools).collect()
}
