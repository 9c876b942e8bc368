//! Arguments of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::Input;

/// A form of figures besides SVG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FigureForm {
    /// For \includegraphics; texts are Helvetica, not embedded
    Pdf,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Output folder; created when missing, files of the same names are replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Also audit the numbers of the paper's files in this folder (see `audit`)
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: Option<PathBuf>,
    /// Folder of the paper's larger runs [default: the folder above the paper's files]
    #[arg(long, value_name = "DIR", requires = "reference")]
    pub(crate) corpus: Option<PathBuf>,
    /// Maximum number of failures shown with their documents; 0: the report contains no document
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) examples: usize,
    /// Maximum number of records in the page's table; if there are more, those that were not accepted come first
    #[arg(long, default_value_t = 30_000, value_name = "N")]
    pub(crate) rows: usize,
    /// Further form of the figures; they are SVG anyway
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) figures: Option<FigureForm>,
    /// US dollars for a million tokens of prompts
    #[arg(long, value_name = "USD", requires = "price_completion")]
    pub(crate) price_prompt: Option<f64>,
    /// US dollars for a million tokens of answers
    #[arg(long, value_name = "USD", requires = "price_prompt")]
    pub(crate) price_completion: Option<f64>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 1337, value_name = "N")]
    pub(crate) seed: u64,
}
