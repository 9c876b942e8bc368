//! `baseline_seccomp`: no pod or container turns seccomp off.
//!
//! # What it checks
//! `seccompProfile.type` wherever a pod or a container sets one (own check `baseline-seccomp`; the control *Seccomp* of
//! the Pod Security Standards, *Baseline*): `RuntimeDefault` or `Localhost`. An absent profile is allowed here, and checked
//! by `enforce_seccomp`. A pod's own bad profile counts even where every container has another.
//!
//! # Why
//! `Unconfined` opens every system call of the kernel that the container shares with its node, also those that the
//! runtime closes by itself.
//!
//! # Repair
//! The profile becomes `RuntimeDefault` where it stands, with the caution `syscalls_filtered`. In a pod for Windows, which
//! has no seccomp, it is removed.
//!
//! # Example
//! ```yaml
//! securityContext: {seccompProfile: {type: Unconfined}}      # before
//! securityContext: {seccompProfile: {type: RuntimeDefault}}  # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::pod_security::{Context, concerns, context_before, contexts, field, profile_type};
use super::scope::{Scope, Site, To, may};
use super::security::checked;
use crate::edit::Editor;
use crate::k8s::View;

pub(super) struct BaselineSeccomp;

const KEY: &str = "seccompProfile";
const CHECK: Check = Check {
    id: "baseline-seccomp",
    severity: Severity::Error,
    remedy: "Set seccompProfile.type to RuntimeDefault, or to Localhost with a profile of your own.",
};

fn is_bad(context: &Map<String, Value>) -> bool {
    field(context, KEY)
        .is_some_and(|profile| !matches!(profile_type(profile), "RuntimeDefault" | "Localhost"))
}

fn bad<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = Context<'v, 'a>> {
    contexts(view).filter(|context| is_bad(context.fields))
}

const SCOPE: Scope = Scope {
    containers: |view, container, _| concerns(view, container, is_bad),
    may: &[
        may("{container}/securityContext/seccompProfile/type", &[FILTERED, REMOVED]),
        may("{container}/securityContext/seccompProfile/**", &[REMOVED]),
        may("{pod}/securityContext/seccompProfile/type", &[FILTERED, REMOVED]),
        may("{pod}/securityContext/seccompProfile/**", &[REMOVED]),
    ],
    companion: None,
};

const FILTERED: To = To::If("`RuntimeDefault` in place of a profile that is not allowed", |site| {
    site.text() == Some("RuntimeDefault") && was_bad(site)
});
const REMOVED: To =
    To::If("removed with a profile that is not allowed", |site| site.change.is.is_none() && was_bad(site));

fn was_bad(site: &Site<'_, '_>) -> bool {
    context_before(site).is_some_and(is_bad)
}

impl Policy for BaselineSeccomp {
    fn id(&self) -> PolicyId {
        PolicyId::BaselineSeccomp
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let finding = |context: Context<'_, '_>| Finding {
            policy: self.id(),
            check: CHECK.id,
            message: format!(
                "{} sets the seccomp profile {}",
                context.owner(),
                quoted(field(context.fields, KEY).map(profile_type).unwrap_or_default())
            ),
            pointer: view.nearest(context.at().join(&[KEY, "type"])),
        };
        bad(view).map(finding).collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for context in bad(view) {
            let profile = context.at().child(KEY);
            if context.pod.is_windows() {
                editor.remove(&profile);
            } else {
                editor.set(&profile, json!({"type": "RuntimeDefault"}));
                cautions.push(Caution::SyscallsFiltered);
            }
        }
        checked(self, view, rules, editor, cautions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&BaselineSeccomp);
    }

    #[test]
    fn what_is_said_counts_and_silence_does_not() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: a, securityContext: {seccompProfile: {type: RuntimeDefault}}}, {name: b, securityContext: {seccompProfile: {type: Localhost, localhostProfile: p}}}, {name: c}], ephemeralContainers: [{name: d, securityContext: {seccompProfile: {}}}, {name: e, securityContext: {seccompProfile: null}}]}",
        );
        assert_eq!(
            messages(&BaselineSeccomp, &document),
            [
                r#"the pod sets the seccomp profile "Unconfined""#,
                r#"container "d" sets the seccomp profile """#
            ]
        );
        assert_eq!(
            fix_of(&BaselineSeccomp, &document),
            json!([
                {"op": "replace", "path": "/spec/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}},
                {"op": "replace", "path": "/spec/ephemeralContainers/0/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}}
            ])
        );
    }

    #[test]
    fn on_windows_it_goes() {
        let document = document(
            "kind: Pod\nspec: {os: {name: windows}, containers: [{name: a, securityContext: {seccompProfile: {type: Unconfined}}}]}",
        );
        assert_eq!(
            fix_of(&BaselineSeccomp, &document),
            json!([{"op": "remove", "path": "/spec/containers/0/securityContext/seccompProfile"}])
        );
    }
}
