//! The tool `explain`.

use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;
use serde_json::Value;

use super::call::{Call, Object};
use super::work::Work;
use crate::commands::detect::policy;
use crate::commands::policies::explained;

/// The tool.
pub(super) struct Explain;

/// What it is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The id of a policy, or the id that a scanner gives it, such as `no_latest_tag` or `latest-tag`
    policy: String,
}

impl Work for Explain {
    const NAME: &str = "explain";
    const DESCRIPTION: &str = "Say what a policy checks in Kubernetes manifests, why it matters, how it is repaired, what its \
        repair may change, and which rules of standards it stands for.";
    type Arguments = Arguments;
    type Output = Object;

    fn work(arguments: Arguments, _: &Call) -> anyhow::Result<(Object, String)> {
        let explained = explained(policy(&arguments.policy).map_err(anyhow::Error::msg)?);
        let text = explained.get("explanation").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Value::Object(explained) = explained else { anyhow::bail!("the explanation is not an object") };
        Ok((explained, text))
    }
}
