//! Figures as text, JSON, CSV, Markdown, LaTeX and SVG.
//!
//! *Owns*: how tables, numbers and charts are written. *Never*: a computation or an input; values in, text out.

pub(crate) mod chart;
mod figures;
pub(crate) mod latex;
mod markdown;
mod numbers;
mod shown;
mod titled;

pub(crate) use figures::{Figures, Form};
pub(crate) use latex::latex;
pub(crate) use markdown::markdown;
pub(crate) use numbers::{ends, interval, number, percent, thousands};
pub(crate) use shown::shown;
pub(crate) use titled::Titled;
