//! Arguments of the commands that hold the published files against ours.

use std::path::PathBuf;

use clap::Args;

use super::figures::Print;

#[derive(Debug, Args)]
pub(crate) struct Published {
    /// The folder of the published files, with their inputs in it
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: PathBuf,
    /// Where the larger runs lie (rules_full, supported, grok_5k_dev); by default beside the published files
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}
