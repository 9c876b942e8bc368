//! The folder of the paper's files: its files, their inputs, and its runs as results.

mod files;
mod runs;

pub(crate) use files::{PaperError, PaperFolder};
pub(super) use runs::Files;
