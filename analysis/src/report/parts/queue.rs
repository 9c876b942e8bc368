//! The rollout queue: simulated waits by rule, load and weight.

use cli_support::output::{Align, Table};

use crate::load::AnalysisError;
use crate::render::chart::{Axis, Dot, Ink, dots};
use crate::render::{Titled, number, thousands};
use crate::report::block::{Block, figure, table};
use crate::report::options::Options;
use crate::report::run::Run;
use crate::schedule::simulate::{BANDS, Cell, Pool, Setting, Spread, experiment};
use crate::schedule::{Replicas, RolloutTimes};

/// Maximum number of jobs of a repetition: enough for the p95 of a band, few enough for a report within seconds.
const JOBS: usize = 2000;

const ALPHAS: [f64; 4] = [0.0, 0.5, 1.0, 2.0];

/// Offered loads: a backlog, below and above the server's capacity.
const LOADS: [f64; 3] = [0.0, 0.9, 1.2];

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn blocks(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    // Ten minutes each, whatever the replicas.
    let pool = Pool::of(&run.cases, &RolloutTimes::default(), &Replicas::default());
    if pool.is_empty() {
        return Ok(vec![Block::Text(format!(
            "Run {} has no judged record: its queue cannot be simulated.",
            run.id
        ))]);
    }
    let setting = Setting {
        servers: vec![1],
        loads: LOADS.into(),
        alphas: ALPHAS.into(),
        attempts: 3,
        jobs: pool.len().min(JOBS),
        repetitions: 20,
        starved: 1000.0,
        seed: options.seed,
    };
    let cells = experiment(&pool, &setting);
    let backlog: Vec<&Cell> = cells.iter().filter(|cell| cell.load == 0.0 && cell.alpha == 0.0).collect();
    let jobs = format!("{} jobs × {}", thousands(setting.jobs as u64), setting.repetitions);
    let n = format!("{jobs} repetitions, from {} judged records", thousands(pool.len() as u64));
    let intro = format!(
        "Jobs are drawn from the judged records: policy, service time (ten minutes for the rollout, as published, plus the \
         measured time to propose and verify), and success with the measured rate. One server; a failed job is tried up to {} times. Rules: fifo, random, risk only; told: the paper's \
         score with the true rates and times; thompson and ucb: the same score with learnt rates and times; oracle: \
         uses the future of each job, a bound. Bands by risk: top (85 and more), high (60 and more), rest. Times are \
         in mean service times of {} s.",
        setting.attempts,
        number(Some(pool.mean()))
    );
    let mean = pool.mean();
    let rows = waits(&backlog, mean);
    let axis = Axis::log("p95 wait, mean service times (logarithmic)", rows.iter().map(|row| row.value));
    let legend = BANDS.map(|(band, _)| band).into_iter().zip(INKS).collect::<Vec<_>>();
    Ok(vec![
        Block::Text(intro),
        figure(
            run.name("queue-waits"),
            run.title("p95 wait by rule and band of risk, backlog", "mean service times", &jobs),
            "Dot: mean of the repetitions. Line: the central 95 % of the repetitions.",
            |title| dots(title, &legend, &axis, &rows),
        ),
        table(
            run.name("queue-waits"),
            Titled {
                title: run.title(
                    "Rules on a backlog",
                    "mean service times, and central 95 % of the repetitions",
                    &n,
                ),
                table: rules(&backlog, mean),
            },
        ),
        table(
            run.name("queue-sweep"),
            Titled {
                title: run.title("Sweep over load and weight of waiting", "mean service times", &n),
                table: sweep(&cells, mean),
            },
        ),
    ])
}

const INKS: [Ink; 3] = [Ink::Bad, Ink::Review, Ink::Good];

fn waits(cells: &[&Cell], mean: f64) -> Vec<Dot> {
    let mut rows = vec![];
    for cell in cells {
        for (band, ink) in cell.bands.iter().zip(INKS).filter(|(band, _)| band.jobs > 0.0) {
            let wait = scaled(band.p95, mean);
            rows.push(Dot {
                label: format!("{}, {}", cell.rule.replace('_', " "), band.name),
                value: wait.mean,
                interval: Some((wait.low, wait.high)),
                ink,
                note: number(Some(wait.mean)),
            });
        }
    }
    rows
}

fn scaled(of: Spread, by: f64) -> Spread {
    Spread { mean: of.mean / by, low: of.low / by, high: of.high / by }
}

fn spread(of: Spread) -> String {
    let [mean, low, high] = [of.mean, of.low, of.high].map(|x| number(Some(x)));
    format!("{mean} ({low} – {high})")
}

fn rules(cells: &[&Cell], mean: f64) -> Table {
    let numbers = [
        "top: p95 wait",
        "rest: p95 wait",
        "FIFO ÷ rule, top p95",
        "regret against the oracle",
        "risk closed per hour",
        "Gini of waits",
    ];
    let mut table =
        Table::new(std::iter::once(("rule", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    for cell in cells {
        let p95 = |place: usize| {
            cell.bands
                .get(place)
                .filter(|band| band.jobs > 0.0)
                .map_or_else(|| "-".to_owned(), |band| spread(scaled(band.p95, mean)))
        };
        table.push([
            cell.rule.replace('_', " "),
            p95(0),
            p95(BANDS.len() - 1),
            if cell.top_p95_against_fifo.mean.is_finite() {
                spread(cell.top_p95_against_fifo)
            } else {
                "-".to_owned()
            },
            spread(cell.regret),
            spread(cell.risk_per_hour),
            number(Some(cell.gini.mean)),
        ]);
    }
    table
}

fn sweep(cells: &[Cell], mean: f64) -> Table {
    let bands = BANDS.map(|(band, _)| format!("{band}: p95 wait"));
    let numbers = ["load".to_owned(), "α".to_owned()].into_iter().chain(bands);
    let numbers = numbers.chain(["rest starved".to_owned(), "regret".to_owned()]);
    let mut table = Table::new(
        std::iter::once(("rule".to_owned(), Align::Left)).chain(numbers.map(|name| (name, Align::Right))),
    );
    for cell in cells {
        let waits = cell.bands.iter().map(|band| number(Some(band.p95.mean / mean)));
        let starved = cell.bands.last().map_or(0.0, |band| band.starved.mean * 100.0);
        let load = if cell.load > 0.0 { cell.load.to_string() } else { "backlog".to_owned() };
        let head = [cell.rule.replace('_', " "), load, cell.alpha.to_string()];
        let rest = [format!("{starved:.1} %"), number(Some(cell.regret.mean))];
        table.push(head.into_iter().chain(waits).chain(rest));
    }
    table
}
