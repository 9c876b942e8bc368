//! Figures as text, JSON, CSV, Markdown, LaTeX and SVG.
//!
//! *Owns*: the format of tables, numbers and charts. *Never*: computes a figure or reads an input.

pub(crate) mod chart;
mod figures;
pub(crate) mod latex;
pub(crate) mod markdown;
mod numbers;
mod shown;
mod titled;

pub(crate) use figures::{Figures, Form};
pub(crate) use latex::latex;
pub(crate) use markdown::markdown;
pub(crate) use numbers::{ends, interval, number, percent, thousands};
pub(crate) use shown::shown;
pub(crate) use titled::Titled;
