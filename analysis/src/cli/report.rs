//! Arguments of `report` and `sql`.

use std::path::PathBuf;

use clap::Args;

use super::args::{Input, Print};

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Where to write; made when missing, files of the same names are replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Also hold the published files against the right numbers (see `audit`)
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: Option<PathBuf>,
    /// Where the larger published runs lie; by default beside the published files
    #[arg(long, value_name = "DIR", requires = "reference")]
    pub(crate) corpus: Option<PathBuf>,
    /// Failures shown with their documents, at most; 0: no document enters the report
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) examples: usize,
    /// Records in the page's table, at most; if there are more, those that were not accepted come first
    #[arg(long, default_value_t = 30_000, value_name = "N")]
    pub(crate) rows: usize,
    /// US dollars for a million tokens of prompts
    #[arg(long, value_name = "USD", requires = "price_completion")]
    pub(crate) price_prompt: Option<f64>,
    /// US dollars for a million tokens of answers
    #[arg(long, value_name = "USD", requires = "price_prompt")]
    pub(crate) price_completion: Option<f64>,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 1337, value_name = "N")]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The question; `-` reads it from stdin
    #[arg(value_name = "STATEMENT")]
    pub(crate) statement: String,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) print: Print,
}
