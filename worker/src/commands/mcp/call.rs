//! What the work of a call has at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use domain::config::RunConfig;
use domain::policy::PolicyId;
use results::root::Root;
use serde_json::{Map, Value};

use super::bounds::Bounds;
use crate::commands::detect::{policy, selected};
use crate::commands::stop::Stop;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// What all calls share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The folder that no path leaves.
    pub(super) root: Arc<Root>,
    /// Its path, without links.
    pub(super) path: PathBuf,
    pub(super) config: RunConfig,
    pub(super) bounds: Bounds,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) stop: Stop,
}

impl Shared {
    /// Opens the root.
    pub(super) fn open(root: &Path, mut config: RunConfig, bounds: Bounds) -> anyhow::Result<Self> {
        let failed = || format!("cannot open the root {}", root.display());
        let path = root.canonicalize().with_context(failed)?;
        config.limits.file_bytes = bounds.max_bytes.get() as u64;
        Ok(Self { root: Arc::new(Root::open(&path).with_context(failed)?), path, config, bounds })
    }
}

impl Call {
    /// The policies of these names, or the configured ones where there are none.
    pub(super) fn policies(&self, names: &[String]) -> anyhow::Result<Vec<PolicyId>> {
        Ok(selected(&named(names)?, &self.shared.config))
    }
}

/// The policies of these names: ids or aliases.
pub(super) fn named(names: &[String]) -> anyhow::Result<Vec<PolicyId>> {
    let of_name = |name: &String| policy(name).map_err(|error| anyhow::anyhow!("{name}: {error}"));
    names.iter().map(of_name).collect()
}

/// A value whose texts hold no secrets.
pub(super) fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(sensitive::mask_text(&text)),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, masked(value))).collect())
        }
        other => other,
    }
}
