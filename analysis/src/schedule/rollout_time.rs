//! How long rolling out a repair takes: by kind, replicas and policy. Computing it takes microseconds, which say nothing
//! about the wait of the next one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::policy::PolicyName;
use results::schema;
use serde::Deserialize;

use crate::load::files::{self, FileError};
use crate::load::rows::rows;
use crate::load::{AnalysisError, Results};

/// The paper's time of a rollout.
const DEFAULT: Duration = Duration::from_secs(600);

/// A file of rollout times, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    default: Option<String>,
    #[serde(default)]
    kinds: BTreeMap<String, String>,
    per_replica: Option<String>,
    #[serde(default)]
    policies: BTreeMap<String, String>,
}

/// Times of a rollout, in minutes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RolloutTimes {
    default: f64,
    kinds: BTreeMap<String, f64>,
    /// For each replica after the first.
    per_replica: f64,
    /// By canonical policy; goes before the kind.
    policies: BTreeMap<String, f64>,
}

impl Default for RolloutTimes {
    fn default() -> Self {
        let default = minutes(DEFAULT);
        Self { default, kinds: BTreeMap::new(), per_replica: 0.0, policies: BTreeMap::new() }
    }
}

impl RolloutTimes {
    /// Reads a YAML or JSON file; what it does not name keeps its default.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let text = String::from_utf8_lossy(&files::bytes(path)?).into_owned();
        let wrong =
            |problem: String| FileError::shape(path, format!("is not a file of rollout times: {problem}"));
        let written: Written = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Self::of(&written).map_err(wrong)
    }

    fn of(written: &Written) -> Result<Self, String> {
        let time = |name: &str, text: &str| {
            let time = humantime::parse_duration(text.trim()).map(minutes);
            time.map_err(|error| format!("{name}: {text:?} is not a duration such as 90s or 10m: {error}"))
        };
        let map = |of: &BTreeMap<String, String>| -> Result<BTreeMap<String, f64>, String> {
            of.iter().map(|(name, text)| Ok((name.clone(), time(name, text)?))).collect()
        };
        let policies = map(&written.policies)?.into_iter();
        let policies = policies.map(|(name, time)| (PolicyName::normalise(&name).as_str().to_owned(), time));
        let optional = |name: &str, text: &Option<String>, default: f64| {
            text.as_deref().map_or(Ok(default), |text| time(name, text))
        };
        Ok(Self {
            default: optional("default", &written.default, minutes(DEFAULT))?,
            kinds: map(&written.kinds)?,
            per_replica: optional("per_replica", &written.per_replica, 0.0)?,
            policies: policies.collect(),
        })
    }

    /// Whether replicas matter.
    pub(crate) fn depends_on_replicas(&self) -> bool {
        self.per_replica > 0.0
    }

    /// Minutes that the rollout of a repair takes.
    pub(crate) fn minutes(&self, kind: &str, policy: &str, replicas: u64) -> f64 {
        let base =
            self.policies.get(policy).or_else(|| self.kinds.get(kind)).copied().unwrap_or(self.default);
        base + self.per_replica * replicas.saturating_sub(1) as f64
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

/// Replicas by run and record. A record that has none here counts as one replica.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Replicas(HashMap<(Arc<str>, String), u64>);

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        record: &'a str = [schema::RECORD_ID],
        accepted: bool = [schema::ACCEPTED],
        patched: Option<&'a str> = [schema::PATCHED_YAML],
    }
}

/// What of a document says how many pods it makes.
#[derive(Debug, Deserialize)]
struct Document {
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    replicas: Option<u64>,
    parallelism: Option<u64>,
}

impl Replicas {
    /// Reads the replicas of the accepted repairs from their documents.
    pub(crate) fn read(results: &Results) -> Result<Self, AnalysisError> {
        let mut replicas = HashMap::new();
        results.each::<Row>(|row| {
            let Some(text) = row.patched.filter(|_| row.accepted) else { return };
            let spec = serde_saphyr::from_str::<Document>(text).ok().and_then(|document| document.spec);
            if let Some(number) = spec.and_then(|spec| spec.replicas.or(spec.parallelism)) {
                replicas.insert((row.run.into(), row.record.to_owned()), number);
            }
        })?;
        Ok(Self(replicas))
    }

    pub(crate) fn of(&self, run: &Arc<str>, record: &str) -> u64 {
        self.0.get(&(Arc::clone(run), record.to_owned())).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RolloutTimes, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rollout.yaml");
        std::fs::write(&path, text).unwrap();
        RolloutTimes::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "whole minutes")]
    fn a_policy_goes_before_its_kind_and_replicas_add() {
        let text = "default: 5m\nkinds: {DaemonSet: 30m}\nper_replica: 60s\npolicies: {latest-tag: 2m}\n";
        let times = read(text).unwrap();
        assert_eq!(times.minutes("ConfigMap", "env_var_secret", 1), 5.0);
        assert_eq!(times.minutes("DaemonSet", "no_privileged", 1), 30.0);
        assert_eq!(times.minutes("DaemonSet", "no_latest_tag", 1), 2.0);
        assert_eq!(times.minutes("Deployment", "no_privileged", 4), 8.0);
        assert_eq!(times.minutes("Deployment", "no_privileged", 0), 5.0);
        let published = RolloutTimes::default();
        assert_eq!(published.minutes("Deployment", "no_privileged", 40), 10.0);
        assert!(times.depends_on_replicas() && !published.depends_on_replicas());
    }

    #[test]
    fn a_wrong_file_is_named_with_its_key() {
        for (text, problem) in [
            ("default: soon\n", "default: \"soon\" is not a duration"),
            ("kinds: {Pod: 10}\n", "Pod: \"10\" is not a duration"),
            ("kind: {Pod: 10m}\n", "kind"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("rollout.yaml") && error.contains(problem), "{error}");
        }
    }
}
