//! Charts as SVG and PDF, drawn by `plotters`.
//!
//! *Invariant*: every colour is one of [`Ink`], so a page can switch charts to the dark theme by a style sheet
//! ([`dark_style`]). By itself a chart has the light theme, fit for print and LaTeX.

mod bars;
mod canvas;
mod curves;
mod dots;
mod drawing;
mod ink;
mod lines;
mod pdf;
#[cfg(test)]
mod tests;

pub(crate) use bars::{Column, Stack, columns, stacked};
pub(crate) use canvas::Axis;
pub(crate) use curves::{Curve, curves};
pub(crate) use dots::{Dot, dots};
pub(crate) use drawing::Drawing;
pub(crate) use ink::{Ink, dark_style};
pub(crate) use lines::{Line, lines};
