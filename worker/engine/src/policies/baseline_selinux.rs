//! `baseline_selinux`: no pod or container asks for an `SELinux` label of its own.
//!
//! # What it checks
//! `seLinuxOptions` wherever a pod or a container sets them (own check `baseline-selinux`; the control *`SELinux`* of the
//! Pod Security Standards, *Baseline*): the type is one of `container_t`, `container_init_t`, `container_kvm_t` and
//! `container_engine_t` or none; a user and a role are not given. The level may be any.
//!
//! # Why
//! Types such as `spc_t` lift the confinement that keeps a container from the files and processes of its node.
//!
//! # Repair
//! None by rule: what a type, user or role lets the program do stands in the `SELinux` policy of the node, and whether it
//! works without is known to its author only.
//!
//! # Example
//! ```yaml
//! securityContext: {seLinuxOptions: {type: spc_t, level: "s0:c1"}}  # before
//! securityContext: {seLinuxOptions: {level: "s0:c1"}}               # where the program works without
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::pod_security::{Context, contexts, text};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct BaselineSelinux;

const KEY: &str = "seLinuxOptions";
const CHECK: Check = Check {
    id: "baseline-selinux",
    severity: Severity::Error,
    remedy: "Set no SELinux user or role, and no type but the runtime's for containers.",
};

const TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// What a security context may not ask for: the option and its value.
fn refused<'a>(context: &Context<'_, 'a>) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
    let options = context.fields.get(KEY).and_then(Value::as_object);
    options.into_iter().flat_map(|options| {
        ["type", "user", "role"].into_iter().filter_map(|key| {
            let value = text(options, key);
            let is_allowed = if key == "type" { TYPES.contains(&value) } else { value.is_empty() };
            (!is_allowed).then_some((key, value))
        })
    })
}

impl Reviewed for BaselineSelinux {
    const ID: PolicyId = PolicyId::BaselineSelinux;
    const CHECK: &'static Check = &CHECK;

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let mut found = Vec::new();
        for context in contexts(view) {
            found.extend(refused(&context).map(|(key, value)| {
                let message = format!("{} sets the SELinux {key} {}", context.owner(), quoted(value));
                (context.at().join(&[KEY, key]), message)
            }));
        }
        found
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "what an SELinux type, user or role lets the program do stands in the policy of its nodes: remove it where the program \
         works as container_t, which containers get by default"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&BaselineSelinux);
    }

    #[test]
    fn types_users_and_roles() {
        let document = document(
            "kind: Pod\nspec: {securityContext: {seLinuxOptions: {level: 's0:c1', type: container_t}}, containers: [{name: a, securityContext: {seLinuxOptions: {type: spc_t, user: u, role: r}}}, {name: b, securityContext: {seLinuxOptions: {}}}], ephemeralContainers: [{name: c, securityContext: {seLinuxOptions: {role: r, type: container_engine_t}}}]}",
        );
        assert_eq!(
            messages(&BaselineSelinux, &document),
            [
                r#"container "a" sets the SELinux type "spc_t""#,
                r#"container "a" sets the SELinux user "u""#,
                r#"container "a" sets the SELinux role "r""#,
                r#"container "c" sets the SELinux role "r""#,
            ]
        );
    }
}
