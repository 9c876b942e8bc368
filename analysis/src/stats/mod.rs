//! Medians, percentiles, intervals, tests and rounding.

mod bootstrap;
mod compare;
mod counts;
pub(crate) mod power;
mod proportion;
mod rounding;
mod sample;

pub(crate) use bootstrap::{Interval, accepted_by_cluster, quantile_interval, random};
pub(crate) use compare::{McNemar, benjamini_hochberg, fisher_exact, holm, mcnemar, two_proportions};
pub(crate) use counts::{Counts, Median, count};
pub(crate) use proportion::Proportion;
pub(crate) use rounding::round;
pub(crate) use sample::Sample;
