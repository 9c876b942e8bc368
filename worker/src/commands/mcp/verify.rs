//! The tool `verify`.

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use domain::patch::Patch;
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Call, Object, masked, named};
use super::input::Manifests;
use super::work::Work;
use crate::commands::verify::objects::{choose, of_inputs};
use crate::commands::verify::repair::Repair;

/// The tool.
pub(super) struct Verify;

/// What it is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The manifests before the repair
    before: Manifests,
    /// The manifests after it; this or `patch`
    #[serde(default)]
    after: Option<Manifests>,
    /// The repair as a JSON Patch (RFC 6902) of one object
    #[serde(default)]
    patch: Option<Vec<Object>>,
    /// The object that `patch` is for, as KIND/NAME, where there are several
    #[serde(default)]
    object: Option<String>,
    /// What the repair has to clear (ids or aliases); none: what it clears
    #[serde(default)]
    policies: Vec<String>,
}

/// What it gives back.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Verified {
    /// Whether every verdict is `accepted`
    accepted: bool,
    /// One for each object that the repair changes: `kind`, `namespace`, `name`, `accepted`, `status`, `fault`, `policies` (what
    /// it clears), `not_cleared`, `gates`, `errors`, `new_violations`, `collateral`, `beyond` (what a
    /// run demands of a repair beyond that the detector finds nothing)
    verdicts: Vec<Object>,
}

impl Work for Verify {
    const NAME: &str = "verify";
    const DESCRIPTION: &str = "Judge a repair of Kubernetes manifests by the gates apply, policy, safety, schema and rescan: two \
        versions of them, or one version and a JSON Patch. Gives back a verdict for each object, with the errors.";
    type Arguments = Arguments;
    type Output = Verified;

    fn work(arguments: Arguments, call: &Call) -> anyhow::Result<(Verified, String)> {
        let Arguments { before, after, patch, object, policies } = arguments;
        let (named, config) = (named(&policies)?, &call.shared.config);
        let before = of_inputs("before", &before.read(call)?.files, config)?;
        call.stop.check()?;
        let repair = match (after, patch) {
            (Some(after), None) => {
                anyhow::ensure!(object.is_none(), "`object` chooses what `patch` is for");
                let after = of_inputs("after", &after.read(call)?.files, config)?;
                Repair::of_versions(before, after, config)?
            }
            (None, Some(patch)) => {
                let patch = serde_json::to_string(&patch)?;
                let most = config.limits.record_bytes;
                anyhow::ensure!(patch.len() <= most, "the patch has more than {most} bytes");
                let patch = Patch::from_json(&patch).context("`patch` is not a JSON Patch (RFC 6902)")?;
                Repair::of_patch(choose(before, object.as_deref())?, patch)
            }
            _ => {
                let error = anyhow::anyhow!("a repair is given by `after` or by `patch`");
                return Err(error).hint("give one of them");
            }
        };
        let verdicts = repair.verdicts(&named, None, config, Some(&call.stop))?;
        let accepted = verdicts.iter().all(|verdict| verdict.accepted);
        let texts: Vec<String> = verdicts.iter().map(|verdict| format!("{}\n", verdict.text)).collect();
        let rows = verdicts.into_iter().filter_map(|verdict| match masked(verdict.row) {
            Value::Object(mut row) => {
                // The caller has it, or the file does.
                row.remove("patch");
                Some(row)
            }
            _ => None,
        });
        let verdicts = rows.collect();
        let word = if accepted { "accepted" } else { "rejected" };
        Ok((Verified { accepted, verdicts }, format!("{word}\n{}", texts.concat())))
    }
}
