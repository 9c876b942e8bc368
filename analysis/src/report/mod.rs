//! The report of runs: an HTML page, Markdown, LaTeX, CSV, figures, and a manifest with the hash of each file.
//!
//! `parts` compute the sections; `forms` write the files.
//!
//! *Invariant*: the same results give the same bytes. Every table and figure has a title with its unit and n. Texts
//! from manifests are escaped in every form.

pub(crate) mod block;
mod build;
pub(crate) mod documents;
mod forms;
mod head;
mod options;
mod parts;
mod records;
mod run;

pub(crate) use build::build;
pub(crate) use forms::write;
pub(crate) use options::Options;
