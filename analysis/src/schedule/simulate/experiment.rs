//! Runs a grid of simulations with repetitions, in parallel, and computes the spread of every figure.

use cli_support::output::{Align, Table};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::jobs::{Arrivals, Pool};
use super::measure::{BANDS, Measures};
use super::rule::Rule;
use super::server::serve;
use crate::render::Figures;
use crate::stats::{Sample, random};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) servers: Vec<usize>,
    /// Offered loads; 0 is a backlog.
    pub(crate) loads: Vec<f64>,
    pub(crate) alphas: Vec<f64>,
    /// Maximum attempts of a job.
    pub(crate) attempts: u32,
    /// Jobs of a repetition.
    pub(crate) jobs: usize,
    pub(crate) repetitions: u32,
    /// Mean service times after which a job counts as starved.
    pub(crate) starved: f64,
    /// Seed of the first repetition; each further one adds 1.
    pub(crate) seed: u64,
}

/// A figure over the repetitions: its mean and the central 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Sample = values.collect();
        let at = |p| values.linear(p).unwrap_or(0.0);
        Self { mean: values.mean().unwrap_or(0.0), low: at(2.5), high: at(97.5) }
    }
}

/// One rule at one point of the grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub(crate) servers: usize,
    /// Offered load; 0: a backlog.
    pub(crate) load: f64,
    pub(crate) alpha: f64,
    pub(crate) rule: &'static str,
    /// Waits by band, in seconds.
    pub(crate) bands: Vec<Band>,
    /// FIFO's p95 wait of the top band divided by this rule's, by repetition.
    pub(crate) top_p95_against_fifo: Spread,
    /// Exposure in excess of the oracle's, as a share of the oracle's.
    pub(crate) regret: Spread,
    /// Inequality of the waits.
    pub(crate) gini: Spread,
    /// Share of the lowest band in the head of the queue.
    pub(crate) low_head_share: Spread,
    /// Risk closed per hour until the end.
    pub(crate) risk_per_hour: Spread,
    pub(crate) half_closed_hours: Spread,
    /// Until 95 % of the risk was closed.
    pub(crate) most_closed_hours: Spread,
}

/// Waits of a band over the repetitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Band {
    pub(crate) name: &'static str,
    /// Mean number of jobs of a repetition.
    pub(crate) jobs: f64,
    pub(crate) median: Spread,
    pub(crate) p95: Spread,
    pub(crate) p99: Spread,
    /// Share of jobs that waited longer than the limit.
    pub(crate) starved: Spread,
}

/// Runs the grid. In a repetition, all rules and points use the same random draws.
pub(crate) fn experiment(pool: &Pool, setting: &Setting) -> Vec<Cell> {
    let mut points = vec![];
    for servers in &setting.servers {
        for load in &setting.loads {
            for alpha in &setting.alphas {
                points.push((*servers, *load, *alpha));
            }
        }
    }
    let work: Vec<(usize, u32)> = (0..points.len())
        .flat_map(|point| (0..setting.repetitions).map(move |again| (point, again)))
        .collect();
    let repeated: Vec<(usize, Vec<Measures>)> = work
        .into_par_iter()
        .filter_map(|(point, again)| {
            let (servers, load, alpha) = *points.get(point)?;
            Some((point, repetition(pool, setting, servers, load, alpha, again)))
        })
        .collect();
    points
        .iter()
        .enumerate()
        .flat_map(|(point, (servers, load, alpha))| {
            let of_point: Vec<&Vec<Measures>> =
                repeated.iter().filter(|(of, _)| *of == point).map(|(_, measures)| measures).collect();
            Rule::ALL.map(|rule| cell(rule, *servers, *load, *alpha, &of_point))
        })
        .collect()
}

fn repetition(
    pool: &Pool,
    setting: &Setting,
    servers: usize,
    load: f64,
    alpha: f64,
    again: u32,
) -> Vec<Measures> {
    let seed = setting.seed.wrapping_add(u64::from(again));
    let arrivals = if load > 0.0 { Arrivals::Load(load) } else { Arrivals::Backlog };
    let jobs = pool.draw(setting.jobs, setting.attempts, servers, arrivals, &mut random(seed));
    let starved = setting.starved * pool.mean();
    Rule::ALL
        .iter()
        .map(|rule| Measures::of(&jobs, &serve(&jobs, &pool.arms, *rule, servers, alpha, seed), starved))
        .collect()
}

fn cell(rule: Rule, servers: usize, load: f64, alpha: f64, repeated: &[&Vec<Measures>]) -> Cell {
    let place = |rule: Rule| Rule::ALL.iter().position(|of| *of == rule).unwrap_or_default();
    let of = |figure: &dyn Fn(&Measures) -> f64| {
        Spread::of(repeated.iter().filter_map(|all| all.get(place(rule))).map(figure))
    };
    let against = |other: Rule, figure: &dyn Fn(&Measures, &Measures) -> f64| {
        let pairs = repeated.iter().filter_map(|all| Some((all.get(place(rule))?, all.get(place(other))?)));
        Spread::of(pairs.map(|(ours, other)| figure(ours, other)))
    };
    let top = |measures: &Measures| measures.bands.first().map_or(0.0, |band| band.p95);
    let bands = BANDS.iter().enumerate().map(|(index, (name, _))| {
        let of_band = |figure: &dyn Fn(&super::measure::BandWaits) -> f64| {
            of(&|measures| measures.bands.get(index).map_or(0.0, figure))
        };
        Band {
            name,
            jobs: of_band(&|band| band.jobs as f64).mean,
            median: of_band(&|band| band.median),
            p95: of_band(&|band| band.p95),
            p99: of_band(&|band| band.p99),
            starved: of_band(&|band| band.starved),
        }
    });
    Cell {
        servers,
        load,
        alpha,
        rule: rule.as_str(),
        bands: bands.collect(),
        top_p95_against_fifo: against(Rule::Fifo, &|ours, fifo| top(fifo) / top(ours)),
        regret: against(Rule::Oracle, &|ours, oracle| ours.exposure / oracle.exposure - 1.0),
        gini: of(&|measures| measures.gini),
        low_head_share: of(&|measures| measures.low_head_share),
        risk_per_hour: of(&|measures| measures.risk_per_hour),
        half_closed_hours: of(&|measures| measures.half_closed_hours),
        most_closed_hours: of(&|measures| measures.most_closed_hours),
    }
}

pub(crate) fn figures(cells: &[Cell], pool: &Pool, setting: &Setting) -> Figures {
    let numbers = [
        "servers",
        "load",
        "α",
        "top: p95 wait, s",
        "rest: p95 wait, s",
        "rest starved",
        "FIFO ÷ rule, top p95",
        "regret",
        "half closed, s",
        "gini",
    ];
    let mut table =
        Table::new(std::iter::once(("rule", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let spread = |of: Spread, digits: usize| {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", of.mean, of.low, of.high)
    };
    for cell in cells {
        let p95 = |band: usize| cell.bands.get(band).map_or_else(String::new, |band| spread(band.p95, 2));
        let starved = cell.bands.last().map_or(0.0, |band| band.starved.mean * 100.0);
        table.push([
            cell.rule.to_owned(),
            cell.servers.to_string(),
            if cell.load > 0.0 { cell.load.to_string() } else { "backlog".to_owned() },
            cell.alpha.to_string(),
            p95(0),
            p95(BANDS.len() - 1),
            format!("{starved:.1} %"),
            spread(cell.top_p95_against_fifo, 1),
            spread(cell.regret, 3),
            format!("{:.2}", cell.half_closed_hours.mean * 3600.0),
            format!("{:.3}", cell.gini.mean),
        ]);
    }
    let value = json!({
        "unit": "s", "jobs": setting.jobs, "repetitions": setting.repetitions, "attempts": setting.attempts,
        "seed": setting.seed, "mean_service": pool.mean(), "records": pool.len(),
        "unmeasured_records": pool.unmeasured, "bands": BANDS.map(|(name, from)| json!({"band": name, "risk_from": from})),
        "cells": cells,
    });
    let title = format!(
        "The queue over time (n = {} jobs × {} repetitions, drawn from {} judged records, mean service {:.4} s; \
         means and the central 95 % of the repetitions)",
        setting.jobs,
        setting.repetitions,
        pool.len(),
        pool.mean()
    );
    Figures::new(value).with(title, table)
}
