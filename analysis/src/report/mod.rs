//! A whole report of runs: one page, Markdown, LaTeX, CSV, figures, and a manifest with the hash of each file.
//!
//! `parts` say what is in it, each a question about one run; `forms` write it down. The same results give the same
//! bytes: nothing here asks a clock.
//!
//! *Invariant*: every table and figure has a title with its unit and n; texts of manifests are data in every form.

mod block;
mod build;
mod documents;
mod forms;
mod options;
mod parts;
mod records;
mod run;

pub(crate) use build::build;
pub(crate) use forms::write;
pub(crate) use options::Options;
