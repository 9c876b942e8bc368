//! `no_rolling_update_strategy`: an update leaves some pods running.
//!
//! # What it checks
//! A controller whose update strategy is none of `RollingUpdate` and `Rolling` (kube-linter `no-rolling-update-strategy`).
//! One that names none has `RollingUpdate` by default.
//!
//! # Why
//! `Recreate` stops all pods before the first new one starts (Kubernetes documentation, *Deployments*, *Strategy*).
//!
//! # Repair
//! None: who wrote `Recreate` may have a program of which no two versions can run, or a volume that one node holds.
//!
//! # Example
//! ```yaml
//! strategy: {type: Recreate}        # found
//! strategy: {type: RollingUpdate}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct NoRollingUpdateStrategy;

/// Where a kind keeps its strategy.
fn place(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "DeploymentConfig" => Some("strategy"),
        "DaemonSet" | "StatefulSet" => Some("updateStrategy"),
        _ => None,
    }
}

/// Where the strategy stands, and its type, where that is not a rolling one.
fn other<'a>(view: &View<'a>) -> Option<(Pointer, &'a str)> {
    let place = Pointer::of(["spec", place(view.kind())?, "type"]);
    let strategy = place.resolve(view.value).and_then(Value::as_str)?;
    (!matches!(strategy, "" | "RollingUpdate" | "Rolling")).then_some((place, strategy))
}

impl Reviewed for NoRollingUpdateStrategy {
    const ID: PolicyId = PolicyId::NoRollingUpdateStrategy;

    const CHECK: &'static Check = &Check {
        id: "no-rolling-update-strategy",
        severity: Severity::Warning,
        remedy: "Use the strategy RollingUpdate.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let found = other(view).map(|(place, strategy)| {
            (
                place,
                format!("object has {strategy} strategy type but must match regex ^(RollingUpdate|Rolling)$"),
            )
        });
        found.into_iter().collect()
    }

    fn reason(&self, view: &View<'_>) -> String {
        let strategy = other(view).map_or("the strategy", |(_, strategy)| strategy);
        format!(
            "say whether two versions of the program may run at once, and its volumes may be mounted twice: if so, write RollingUpdate in \
             place of {strategy}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&NoRollingUpdateStrategy);
    }

    #[test]
    fn other_strategies_are_found() {
        for (kind, field, strategy, count) in [
            ("Deployment", "strategy", "Recreate", 1),
            ("Deployment", "strategy", "RollingUpdate", 0),
            ("Deployment", "updateStrategy", "Recreate", 0),
            ("StatefulSet", "updateStrategy", "OnDelete", 1),
            ("DaemonSet", "updateStrategy", "OnDelete", 1),
            ("DeploymentConfig", "strategy", "Rolling", 0),
            ("CronJob", "strategy", "Recreate", 0),
        ] {
            let text = format!("kind: {kind}\nspec: {{{field}: {{type: {strategy}}}}}");
            assert_eq!(messages(&NoRollingUpdateStrategy, &document(&text)).len(), count, "{text}");
        }
        assert_eq!(
            messages(
                &NoRollingUpdateStrategy,
                &document("kind: Deployment\nspec: {strategy: {type: Recreate}}")
            ),
            ["object has Recreate strategy type but must match regex ^(RollingUpdate|Rolling)$"]
        );
    }
}
