//! How much a violation weighs: the published tables, which disagree, each under its own name, and the published risk
//! of a record with what scans and feeds add.

pub mod feeds;
mod images;
mod model;
mod tables;

pub use images::images;
pub use model::{Feeds, Scan, entries};
pub use tables::{RiskTable, is_kev_policy};
