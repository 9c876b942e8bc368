//! Figures as text, JSON, CSV, Markdown, LaTeX and SVG.
//!
//! *Owns*: the format of tables, numbers and charts. *Never*: computes a figure or reads an input.

pub(crate) mod chart;
mod figures;
pub(crate) mod latex;
pub(crate) mod markdown;
mod numbers;
mod titled;

/// Makes a text from a manifest safe to print.
pub(crate) use cli_support::escape::visible as shown;
pub(crate) use figures::{Figures, Form};
pub(crate) use latex::latex;
pub(crate) use markdown::markdown;
pub(crate) use numbers::{ends, grouped, interval, number, p_equals, p_value, percent, plain, thousands};
pub(crate) use titled::Titled;
