//! Risk of violations: the paper's base risk tables, which disagree, and the paper's risk of a record with image scans
//! and vulnerability feeds.

pub(crate) mod feeds;
mod fetch;
mod image_ref;
mod images;
mod model;
mod tables;

pub(crate) use fetch::{EPSS_URL, KEV_URL, fetch};
pub(crate) use model::{Feeds, entries};
pub(crate) use tables::{RiskTable, is_kev_policy};
