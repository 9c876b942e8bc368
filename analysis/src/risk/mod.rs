//! How much a violation weighs: the published tables, which disagree, each under its own name, and the published risk
//! of a record with what scans and feeds add.

pub(crate) mod feeds;
mod fetch;
mod images;
mod model;
mod tables;

pub(crate) use fetch::{EPSS_URL, KEV_URL, fetch};
pub(crate) use model::{Feeds, entries};
pub(crate) use tables::{RiskTable, is_kev_policy};
