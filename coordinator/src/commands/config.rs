//! `coordinator config show`.

use clap::Subcommand;
use cli_support::{Exit, Format, output};

use crate::settings::{ConfigArgs, checked};

/// Shows the configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print every key with its value and the origin of the value
    ///
    /// Layers, the later wins: defaults < --config < environment (`K8S_AUTO_FIX_<KEY>`, `__` for a dot) < flags.
    Show {
        #[command(flatten)]
        config: Box<ConfigArgs>,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Prints the configuration.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let What::Show { config, output: format } = &args.what;
    let resolved = config.resolve()?;
    checked(&resolved)?;
    output::print(&resolved.show(*format))?;
    Ok(Exit::Fine)
}
