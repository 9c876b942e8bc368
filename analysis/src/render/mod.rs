//! Figures as text, JSON, CSV, Markdown, LaTeX and SVG.
//!
//! *Owns*: how tables, numbers and charts are written. *Never*: a computation or an input; values in, text out.

pub mod chart;
mod figures;
pub(crate) mod latex;
mod markdown;
mod numbers;
mod shown;
mod titled;

pub use figures::{Figures, Form};
pub use latex::latex;
pub use markdown::markdown;
pub use numbers::{ends, interval, number, percent, thousands};
pub use shown::shown;
pub use titled::Titled;
