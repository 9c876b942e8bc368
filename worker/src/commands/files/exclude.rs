//! The argument that leaves files out.

use glob::Pattern;

/// Files that are left out.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ExcludeArg {
    /// Leave out the files that match: a pattern without / is compared with names, one with / with paths (may be repeated).
    /// They are no context for others either
    #[arg(long, value_name = "GLOB", value_parser = Pattern::new)]
    pub(crate) exclude: Vec<Pattern>,
}
