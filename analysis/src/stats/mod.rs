//! Medians, percentiles, intervals, tests and rounding. Pure: a seed comes as an argument.

mod bootstrap;
mod compare;
mod counts;
mod proportion;
mod rounding;
mod sample;

pub use bootstrap::{Interval, accepted_by_cluster, quantile_interval, random};
pub use compare::{
    McNemar, TwoProportions, benjamini_hochberg, fisher_exact, holm, mann_whitney, mcnemar, two_proportions,
};
pub use counts::{Counts, Median};
pub use proportion::{Proportion, wilson};
pub use rounding::round;
pub use sample::Sample;
