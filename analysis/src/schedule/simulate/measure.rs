//! Measurements of a simulated queue.

use serde::Serialize;

use super::jobs::Job;
use super::server::Served;
use crate::stats::Sample;

/// Lower ends of the bands of risk, highest first.
pub(crate) const BANDS: [(&str, f64); 3] = [("top", 85.0), ("high", 60.0), ("rest", 0.0)];

/// The head of the queue, as a share of all starts.
const HEAD: f64 = 0.1;

/// Waits of a band, in seconds, from arrival to first start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct BandWaits {
    pub(crate) jobs: usize,
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    /// Share of jobs that waited longer than the limit.
    pub(crate) starved: f64,
}

/// Figures of one repetition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measures {
    /// By band, in the order of [`BANDS`].
    pub(crate) bands: Vec<BandWaits>,
    /// Inequality of the waits.
    pub(crate) gini: f64,
    /// Share of the lowest band among the first tenth of the starts.
    pub(crate) low_head_share: f64,
    /// Risk closed per hour, until the end of the last job.
    pub(crate) risk_per_hour: f64,
    /// Until half of the risk that is ever closed was closed.
    pub(crate) half_closed_hours: f64,
    /// Until 95 % of the risk that is ever closed was closed.
    pub(crate) most_closed_hours: f64,
    /// Risk × hours until closed, summed over all jobs: the cost that an order should minimise.
    pub(crate) exposure: f64,
}

impl Measures {
    /// Summarises a repetition; `starved` is in seconds.
    pub(crate) fn of(jobs: &[Job], served: &[Served], starved: f64) -> Self {
        let pairs = || jobs.iter().zip(served);
        let band_of = |risk: f64| BANDS.iter().position(|(_, from)| risk >= *from).unwrap_or(BANDS.len() - 1);
        let waits = |band: Option<usize>| -> Sample {
            pairs()
                .filter(|(job, _)| band.is_none_or(|band| band_of(job.risk) == band))
                .map(|(job, served)| served.started - job.arrival)
                .collect()
        };
        let bands = (0..BANDS.len()).map(|band| {
            let waits = waits(Some(band));
            let of = |p| waits.linear(p).unwrap_or(0.0);
            BandWaits {
                jobs: waits.len(),
                median: of(50.0),
                p95: of(95.0),
                p99: of(99.0),
                starved: waits.share_above(starved),
            }
        });
        let end = served.iter().map(|served| served.ended).fold(0.0, f64::max);
        let mut closings: Vec<(f64, f64)> =
            pairs().filter_map(|(job, served)| Some((served.closed?, job.risk))).collect();
        closings.sort_by(|a, b| a.0.total_cmp(&b.0));
        let closed: f64 = closings.iter().map(|(_, risk)| risk).sum();
        let until = |share: f64| {
            let mut sum = 0.0;
            let reached = closings.iter().find(|(_, risk)| {
                sum += risk;
                sum >= share * closed
            });
            reached.map_or(0.0, |(time, _)| time / 3600.0)
        };
        let exposure: f64 = pairs()
            .map(|(job, served)| job.risk * (served.closed.unwrap_or(end) - job.arrival) / 3600.0)
            .sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
        let head = (jobs.len() as f64 * HEAD).ceil() as usize;
        let low = pairs()
            .filter(|(job, served)| served.rank < head && band_of(job.risk) == BANDS.len() - 1)
            .count();
        Self {
            bands: bands.collect(),
            gini: waits(None).gini().unwrap_or(0.0),
            low_head_share: low as f64 / head.max(1) as f64,
            risk_per_hour: if end > 0.0 { closed / (end / 3600.0) } else { 0.0 },
            half_closed_hours: until(0.5),
            most_closed_hours: until(0.95),
            exposure,
        }
    }
}
