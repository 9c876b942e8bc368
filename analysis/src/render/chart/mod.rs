//! Charts as SVG, drawn by `plotters`. Values in, text out.
//!
//! *Invariant*: every colour is one of [`Ink`], so that a page can turn them for a dark screen with a style sheet
//! ([`dark_style`]); a chart is white-paper black-ink by itself, fit for print and for LaTeX.

mod bars;
mod canvas;
mod curves;
mod dots;
mod ink;
#[cfg(test)]
mod tests;

pub(crate) use bars::{Column, Stack, columns, stacked};
pub(crate) use canvas::Axis;
pub(crate) use curves::{Curve, curves};
pub(crate) use dots::{Dot, dots};
pub(crate) use ink::{Ink, dark_style};
