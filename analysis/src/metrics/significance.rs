//! Statistical significance of differences: intervals, tests, corrections.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};
use serde_json::{Value, json};

use super::pairs::{Pair, by_run, paired};
use crate::load::cases::Case;
use crate::load::files::Csv;
use crate::render::{Figures, ends, interval, p_value, percent};
use crate::stats::{
    Interval, Proportion, accepted_by_cluster, benjamini_hochberg, fisher_exact, holm, round, two_proportions,
};

/// Resamples of the bootstrap.
const DRAWS: usize = 2000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) corpus: String,
    pub(crate) accepted: u64,
    pub(crate) total: u64,
}

impl Counted {
    /// Reads `corpus,accepted,total`.
    pub(crate) fn read(file: &Csv) -> Result<Vec<Self>, String> {
        let column = |name: &str| file.column(&[name]).ok_or_else(|| format!("has no column {name:?}"));
        let (corpus, accepted, total) = (column("corpus")?, column("accepted")?, column("total")?);
        file.rows
            .iter()
            .map(|row| {
                let cell = |place: usize| row.get(place).map(String::as_str).unwrap_or_default();
                let count = |place| {
                    cell(place).parse::<u64>().map_err(|_| format!("{:?} is not a count", cell(place)))
                };
                let counted = Self {
                    corpus: cell(corpus).to_owned(),
                    accepted: count(accepted)?,
                    total: count(total)?,
                };
                if counted.accepted > counted.total {
                    return Err(format!("{}: accepted exceeds total", counted.corpus));
                }
                Ok(counted)
            })
            .collect()
    }

    fn pair(&self) -> (u64, u64) {
        (self.accepted, self.total)
    }
}

/// The paper's table of intervals: share and Wilson bounds, unrounded.
pub(crate) fn intervals(counts: &[Counted]) -> Table {
    let columns =
        ["accepted", "total", "acceptance_rate", "ci_lower", "ci_upper"].map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("corpus", Align::Left)).chain(columns));
    let cell = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:?}"));
    for count in counts {
        let share = Proportion::new(count.accepted, count.total);
        let numbers = [cell(share.rate), cell(share.low), cell(share.high)];
        table.push(
            [count.corpus.clone(), count.accepted.to_string(), count.total.to_string()]
                .into_iter()
                .chain(numbers),
        );
    }
    table
}

/// Tests of every pair of corpora: the paper's z test, and Fisher's exact test with both corrections.
pub(crate) fn pairs(counts: &[Counted]) -> (Vec<Value>, Table) {
    let pairs: Vec<(&Counted, &Counted)> = counts
        .iter()
        .enumerate()
        .flat_map(|(index, a)| counts.iter().skip(index + 1).map(move |b| (a, b)))
        .collect();
    let exact: Vec<f64> =
        pairs.iter().map(|(a, b)| fisher_exact(a.pair(), b.pair()).unwrap_or(1.0)).collect();
    let (by_holm, by_bh) = (holm(&exact), benjamini_hochberg(&exact));
    let columns = ["z", "p (z)", "p (Fisher)", "p (Holm)", "p (BH)"].map(|name| (name, Align::Right));
    let left = [("corpus", Align::Left), ("against", Align::Left)];
    let mut table = Table::new(left.into_iter().chain(columns));
    let mut entries = vec![];
    for (index, (a, b)) in pairs.iter().enumerate() {
        let test = two_proportions(a.pair(), b.pair());
        let of = |list: &[f64]| list.get(index).copied().unwrap_or(1.0);
        let rate = |count: &Counted| count.accepted as f64 / count.total as f64;
        entries.push(json!({
            "corpus_a": a.corpus, "corpus_b": b.corpus, "z_stat": test.z, "p_value": test.paper_p,
            "rate_a": rate(a), "rate_b": rate(b),
            "extended": {"p_value": test.p, "fisher": of(&exact), "holm": of(&by_holm), "bh": of(&by_bh)},
        }));
        let cells = [test.p, of(&exact), of(&by_holm), of(&by_bh)].map(p_value);
        let words = [a.corpus.clone(), b.corpus.clone(), format!("{:.3}", test.z)];
        table.push(words.into_iter().chain(cells));
    }
    (entries, table)
}

/// Acceptance of runs, with Wilson's interval and the bootstrap interval that resamples whole documents.
pub(crate) fn of_runs(cases: &[Case], seed: u64) -> Figures {
    let runs = by_run(cases);
    let columns = ["accepted", "of", "share", "Wilson 95 %", "by document 95 %", "documents"];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new(std::iter::once(("run", Align::Left)).chain(columns));
    let mut entries = vec![];
    for (run, cases) in &runs {
        let (by_document, documents) = by_document(cases.iter().copied(), seed);
        let accepted = cases.iter().filter(|case| case.accepted).count() as u64;
        let share = Proportion::new(accepted, cases.len() as u64);
        table.push([
            (*run).to_owned(),
            share.count.to_string(),
            share.of.to_string(),
            percent(share.rate),
            interval(&share),
            by_document.map_or_else(|| "-".to_owned(), |of| ends(of.low, of.high)),
            documents.to_string(),
        ]);
        entries.push(json!({
            "run": run, "acceptance": share, "by_document": by_document, "documents": documents,
        }));
    }
    let mut figures =
        Figures::new(json!({"runs": entries, "paired": []})).with("Acceptance by run, of all records", table);
    let paired = paired(&runs, |_, _| true);
    if !paired.is_empty() {
        let columns =
            ["only first", "only second", "p (McNemar)", "p (Holm)"].map(|name| (name, Align::Right));
        let left = [("run", Align::Left), ("against", Align::Left)];
        let mut table = Table::new(left.into_iter().chain([("pairs", Align::Right)]).chain(columns));
        let adjusted = holm(&paired.iter().map(|pair| pair.test.p).collect::<Vec<_>>());
        let mut entries = vec![];
        for (Pair { first: a, second: b, records, test, .. }, holm) in paired.iter().zip(adjusted) {
            table.push([
                a.clone(),
                b.clone(),
                records.to_string(),
                test.only_first.to_string(),
                test.only_second.to_string(),
                p_value(test.p),
                p_value(holm),
            ]);
            entries.push(
                json!({"run_a": a, "run_b": b, "pairs": records, "mcnemar": test, "holm": round(holm, 12)}),
            );
        }
        if let Value::Object(value) = &mut figures.value {
            value.insert("paired".to_owned(), Value::Array(entries));
        }
        figures = figures.with("The same records in two runs", table);
    }
    figures
}

/// The bootstrap interval of acceptance that resamples whole documents, and the number of documents. A record without
/// a document counts as a document of its own.
pub(crate) fn by_document<'a>(cases: impl Iterator<Item = &'a Case>, seed: u64) -> (Option<Interval>, usize) {
    let mut documents: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for case in cases {
        let sum = documents.entry(case.document.as_deref().unwrap_or(&case.id)).or_default();
        sum.0 += u64::from(case.accepted);
        sum.1 += 1;
    }
    let clusters: Vec<(u64, u64)> = documents.into_values().collect();
    (accepted_by_cluster(&clusters, DRAWS, seed), clusters.len())
}
