//! Subcommands about models: what a run would ask them, batches, limits, whether they are there.

pub(crate) mod batches;
pub(crate) mod by_batches;
pub(crate) mod estimate;
pub(crate) mod model_check;
pub(crate) mod probe;
