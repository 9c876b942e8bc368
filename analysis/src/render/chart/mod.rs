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

pub use bars::{Column, Stack, columns, stacked};
pub use canvas::Axis;
pub use curves::{Curve, curves};
pub use dots::{Dot, dots};
pub use ink::{Ink, dark_style};
