//! What a tool is.

use rmcp::schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Call;

/// A tool.
pub(super) trait Work {
    /// Its name.
    const NAME: &str;
    /// What it does, for the one who chooses.
    const DESCRIPTION: &str;
    /// What it is given.
    type Arguments: DeserializeOwned + JsonSchema + 'static;
    /// What it gives back, as JSON.
    type Output: Serialize + JsonSchema + 'static;

    /// Does its work. Gives back the output, and a short text about it.
    fn work(arguments: Self::Arguments, call: &Call) -> anyhow::Result<(Self::Output, String)>;
}
