//! How much a violation weighs: the published tables, which disagree, each under its own name, and the published risk
//! of a record with what scans and feeds add.

pub mod feeds;
mod fetch;
mod images;
mod model;
mod tables;

pub use fetch::{EPSS_URL, FetchError, KEV_URL, fetch};
pub use images::images;
pub use model::{Feeds, Scan, entries};
pub use tables::{RiskTable, is_kev_policy};
