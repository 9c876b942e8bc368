//! The folder of the published files: where its files and their inputs lie, and its runs as results.

mod files;
mod runs;

pub(crate) use files::{PaperError, PaperFolder};
pub(super) use runs::Files;
