//! The argument that says where the objects stand that a document is judged with.

use clap::ValueEnum;
use domain::config::{Context, RunConfig};

/// Where the objects stand that a document is judged with.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct ContextArg {
    /// Where the objects stand that a document is judged with, such as the workloads of a Service [default: as configured,
    /// input]
    #[arg(long, value_enum, value_name = "WHERE")]
    context: Option<Where>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// In the folder of the document's file
    Folder,
    /// In everything that is named
    Input,
}

impl ContextArg {
    /// The context that was named, else the configured one.
    pub(crate) fn of(self, config: &RunConfig) -> Context {
        match self.context {
            Some(Where::Folder) => Context::Folder,
            Some(Where::Input) => Context::Input,
            None => config.context,
        }
    }
}
