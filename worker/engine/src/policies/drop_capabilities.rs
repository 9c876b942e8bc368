//! `drop_capabilities`: containers drop all capabilities and ask for no dangerous one back.
//!
//! # What it checks
//! Two checks of kube-linter, both for containers that say anything about the matter. `drop-net-raw-capability`, where
//! `capabilities` are given: `NET_RAW` is not added, and is dropped. `privilege-escalation-container`, where a security
//! context is given: neither `allowPrivilegeEscalation` nor `privileged` is true, `SYS_ADMIN` is not added.
//!
//! A repair must show more than that, in every container: ALL is dropped, nothing dangerous is added,
//! `allowPrivilegeEscalation` is false.
//!
//! # Why
//! Capabilities are root's powers one by one; `NET_RAW` forges packets, `SYS_ADMIN` is nearly all of root
//! (Kubernetes Pod Security Standards, *Restricted*).
//!
//! # Repair
//! `ALL` joins `capabilities.drop` where it is not there in any case; it covers every other name, so that none is listed
//! beside it. Dangerous names, with or without `CAP_` and in any case, leave `capabilities.add`, with the caution
//! `loses_capability`; the others stay. Privileged mode goes where it was on, as the API server wants it. A container
//! that had not dropped everything carries `default_capabilities_dropped`. With `rules.level: restricted` every added name
//! but `NET_BIND_SERVICE` goes, and `ALL` stands in capitals, as the profile *Restricted* compares it. On Windows none of this exists: a person must
//! take out what was written for Linux.
//!
//! # Example
//! ```yaml
//! securityContext: {capabilities: {add: [NET_ADMIN, CHOWN]}}                                           # before
//! securityContext: {capabilities: {add: [CHOWN], drop: [ALL]}, allowPrivilegeEscalation: false}        # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::{quoted, quoted_list};
use super::scope::{Scope, Site, To, may};
use super::security::{
    CONFINED_MOUNTS, MAY_BE_ADDED, UNPRIVILEGED, capabilities, capability_name, checked, drops_all, is_false,
    is_restricted, is_true, on_windows, take_away, unprivilege,
};
use crate::edit::Editor;
use crate::k8s::{Container, Pod, View};

pub(super) struct DropCapabilities;

const ESCALATION: Check = Check {
    id: "privilege-escalation-container",
    severity: Severity::Error,
    remedy: "Set allowPrivilegeEscalation to false; be neither privileged nor given SYS_ADMIN.",
};

const NET_RAW: Check = Check {
    id: "drop-net-raw-capability",
    severity: Severity::Warning,
    remedy: "Drop ALL capabilities, or NET_RAW at least, and do not add it.",
};

const DANGEROUS: [&str; 7] =
    ["ALL", "NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_CHROOT"];

/// Whether the capability is dangerous to add. `NET_RAW` counts as part of a longer name, too,
/// since kube-linter looks for it as a pattern.
fn is_dangerous(capability: &str) -> bool {
    DANGEROUS.contains(&capability_name(capability).as_str()) || capability.contains("NET_RAW")
}

/// Whether a repair may not leave the capability in `capabilities.add`, as the rules are set.
fn is_refused(capability: &str, rules: &RulesConfig) -> bool {
    if is_restricted(rules) { capability != MAY_BE_ADDED } else { is_dangerous(capability) }
}

/// kube-linter's first hit about privilege escalation, and where it is.
fn escalation(container: &Container<'_>) -> Option<(String, Pointer)> {
    let name = quoted(container.name);
    let at = |keys: &[&str]| container.security_pointer(keys);
    if is_true(container, "allowPrivilegeEscalation") {
        let message = format!("container {name} has AllowPrivilegeEscalation set to true.");
        return Some((message, at(&["allowPrivilegeEscalation"])));
    }
    if is_true(container, "privileged") {
        let message = format!("container {name} is Privileged hence allows privilege escalation.");
        return Some((message, at(&["privileged"])));
    }
    let (index, _) = capabilities(container, "add").into_iter().find(|(_, added)| *added == "SYS_ADMIN")?;
    let message = format!("container {name} has SYS_ADMIN capability hence allows privilege escalation.");
    Some((message, at(&["capabilities", "add"]).index(index)))
}

/// kube-linter's hits about `NET_RAW`, and where they are.
fn net_raw(container: &Container<'_>) -> Vec<(String, Pointer)> {
    let given = container.security_context().and_then(|context| context.get("capabilities"));
    if !given.is_some_and(Value::is_object) {
        return Vec::new();
    }
    let is_meant = |name: &str| name.contains("NET_RAW") || name.eq_ignore_ascii_case("all");
    let name = quoted(container.name);
    let mut found = Vec::new();
    for (index, added) in capabilities(container, "add").into_iter().filter(|(_, added)| is_meant(added)) {
        let message = format!(
            "container {name} has ADD capability: {}, which matched with the forbidden capability for containers",
            quoted(added)
        );
        found.push((message, container.security_pointer(&["capabilities", "add"]).index(index)));
    }
    let dropped = capabilities(container, "drop");
    if !dropped.iter().any(|(_, dropped)| is_meant(dropped)) {
        let list = quoted_list(dropped.into_iter().map(|(_, dropped)| dropped));
        let message = format!(
            "container {name} has DROP capabilities: {list}, but does not drop capability \"NET_RAW\" which is required"
        );
        found.push((message, container.security_pointer(&["capabilities", "drop"])));
    }
    found
}

/// What a repair still has to do for the container.
fn shortcomings(container: &Container<'_>, rules: &RulesConfig) -> Vec<String> {
    let mut found = Vec::new();
    let name = quoted(container.name);
    if !drops_all(container, rules) {
        found.push(format!("container {name}: capabilities.drop must include ALL"));
    }
    let added: Vec<&str> = capabilities(container, "add")
        .into_iter()
        .map(|(_, name)| name)
        .filter(|name| is_refused(name, rules))
        .collect();
    if !added.is_empty() {
        found.push(format!("container {name}: capabilities.add still contains {}", added.join(", ")));
    }
    if is_true(container, "privileged") {
        found.push(format!("container {name}: privileged must not be true"));
    }
    if !is_false(container, "allowPrivilegeEscalation") {
        found.push(format!("container {name}: allowPrivilegeEscalation must be false"));
    }
    found
}

fn repair(editor: &mut Editor, container: &Container<'_>, rules: &RulesConfig, cautions: &mut Vec<Caution>) {
    if !drops_all(container, rules) {
        editor.append(&container.security_pointer(&["capabilities", "drop"]), json!("ALL"));
        cautions.push(Caution::DefaultCapabilitiesDropped);
    }
    if take_away(editor, container, |name| is_refused(name, rules)) {
        cautions.push(Caution::LosesCapability);
    }
    if is_true(container, "privileged") || is_true(container, "allowPrivilegeEscalation") {
        cautions.push(Caution::LosesPrivilege);
    }
    unprivilege(editor, container);
    editor.set(&container.security_pointer(&["allowPrivilegeEscalation"]), json!(false));
}

const SCOPE: Scope = Scope {
    containers: |view, container, rules| {
        if on_windows(view, container) {
            is_found(container)
        } else {
            !shortcomings(container, rules).is_empty()
        }
    },
    may: &[
        may(
            "{container}/securityContext/capabilities/drop/*",
            &[To::If("a name added", |site| site.change.was.is_none() && site.text().is_some()), ON_WINDOWS],
        ),
        may(
            "{container}/securityContext/capabilities/add/*",
            &[To::If("a name removed that may not be added", is_taken_away), ON_WINDOWS],
        ),
        may("{container}/securityContext/allowPrivilegeEscalation", &[To::False, ON_WINDOWS]),
        UNPRIVILEGED,
        CONFINED_MOUNTS,
    ],
    companion: None,
};

/// On Windows what was written for Linux goes.
const ON_WINDOWS: To = To::If("removed on Windows", |site| {
    site.change.is.is_none() && site.pods.is_some_and(|[before, _]| before.is_windows())
});

fn is_found(container: &Container<'_>) -> bool {
    escalation(container).is_some() || !net_raw(container).is_empty()
}

fn is_taken_away(site: &Site<'_, '_>) -> bool {
    let was = site.change.was.and_then(Value::as_str);
    site.change.is.is_none() && was.is_some_and(|was| is_refused(was, site.rules))
}

impl Policy for DropCapabilities {
    fn id(&self) -> PolicyId {
        PolicyId::DropCapabilities
    }

    fn checks(&self) -> &'static [Check] {
        &[ESCALATION, NET_RAW]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for container in &view.containers {
            let hits = escalation(container).into_iter().map(|hit| (ESCALATION.id, hit));
            for (check, (message, at)) in
                hits.chain(net_raw(container).into_iter().map(|hit| (NET_RAW.id, hit)))
            {
                findings.push(Finding { policy: self.id(), check, message, pointer: view.nearest(at) });
            }
        }
        findings
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if !view.pods.is_empty() && view.pods.iter().all(Pod::is_windows) {
            let Some(found) = self.detect(view).into_iter().next() else {
                let reason = "the pod runs on Windows, which has no capabilities".to_owned();
                return Fix::NotApplicable { reason };
            };
            let reason = format!(
                "the pod runs on Windows, which has neither capabilities nor privilege escalation: take out {}",
                found.pointer
            );
            return Fix::NeedsReview { reason };
        }
        let mut editor = Editor::new(view.value);
        let mut cautions = Vec::new();
        for container in view.containers.iter().filter(|container| !on_windows(view, container)) {
            repair(&mut editor, container, rules, &mut cautions);
        }
        checked(self, view, rules, editor, cautions)
    }

    /// What a repair must show in every container; it implies what the detector looks for.
    fn cleared(&self, view: &View<'_>, rules: &RulesConfig) -> Vec<String> {
        let linux = view.containers.iter().filter(|container| !on_windows(view, container));
        linux.flat_map(|container| shortcomings(container, rules)).collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::config::SecurityLevel;
    use domain::record::Neighbours;

    use super::*;
    use crate::document::Document;
    use crate::testing::{document, findings, fix_of, fixture_holds, messages, review_of};
    use crate::verify::apply;

    fn pod(context: &str) -> Document {
        document(&format!("kind: Pod\nspec: {{containers: [{{name: a, securityContext: {context}}}]}}"))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&DropCapabilities);
    }

    #[test]
    fn kube_linters_findings() {
        let add = |name: &str| {
            format!(
                "container \"a\" has ADD capability: {name:?}, which matched with the forbidden capability for containers"
            )
        };
        let drop = |list: &str| {
            format!(
                "container \"a\" has DROP capabilities: {list}, but does not drop capability \"NET_RAW\" which is required"
            )
        };
        for (context, expected) in [
            ("{}", vec![]),
            ("{capabilities: null}", vec![]),
            ("{capabilities: {}}", vec![drop("[]")]),
            ("{capabilities: {drop: [NET_ADMIN, 'x\"']}}", vec![drop(r#"["NET_ADMIN" "x\""]"#)]),
            ("{capabilities: {drop: [all]}}", vec![]),
            ("{capabilities: {drop: [net_raw]}}", vec![drop(r#"["net_raw"]"#)]),
            (
                "{capabilities: {add: [NET_RAW, All, CHOWN], drop: [NET_RAW]}}",
                vec![add("NET_RAW"), add("All")],
            ),
            (
                "{allowPrivilegeEscalation: true, privileged: true}",
                vec!["container \"a\" has AllowPrivilegeEscalation set to true.".into()],
            ),
            (
                "{privileged: true}",
                vec!["container \"a\" is Privileged hence allows privilege escalation.".into()],
            ),
            (
                "{capabilities: {drop: [ALL], add: [SYS_ADMIN]}}",
                vec!["container \"a\" has SYS_ADMIN capability hence allows privilege escalation.".into()],
            ),
        ] {
            assert_eq!(messages(&DropCapabilities, &pod(context)), expected, "{context}");
        }
    }

    #[test]
    fn pointers_resolve() {
        for (context, at) in [
            ("{capabilities: {}}", "capabilities"),
            ("{capabilities: {drop: []}}", "capabilities/drop"),
            ("{capabilities: {drop: [ALL], add: [CHOWN, SYS_ADMIN]}}", "capabilities/add/1"),
        ] {
            let found = findings(&DropCapabilities, &pod(context));
            assert_eq!(found[0].pointer.as_str(), format!("/spec/containers/0/securityContext/{at}"));
        }
    }

    #[test]
    fn all_is_dropped_and_what_is_harmless_stays() {
        assert_eq!(
            fix_of(&DropCapabilities, &pod("{capabilities: {drop: [net_raw], add: [NET_ADMIN, CHOWN]}}")),
            json!([
                {"op": "add", "path": "/spec/containers/0/securityContext/capabilities/drop/-", "value": "ALL"},
                {"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add/0"},
                {"op": "add", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": false}
            ])
        );
    }

    #[test]
    fn prefixes_and_case_do_not_hide_a_name_and_an_empty_list_goes() {
        assert_eq!(
            fix_of(
                &DropCapabilities,
                &pod(
                    "{allowPrivilegeEscalation: false, capabilities: {drop: [All], add: [cap_sys_admin, ' net_admin ', all, MY_NET_RAW]}}"
                )
            ),
            json!([{"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add"}])
        );
    }

    #[test]
    fn privileged_mode_goes_where_it_was_on() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, securityContext: {privileged: true, capabilities: {drop: [ALL]}}, volumeMounts: [{name: v, mountPropagation: Bidirectional}]}]}",
        );
        assert_eq!(
            fix_of(&DropCapabilities, &document),
            json!([
                {"op": "replace", "path": "/spec/containers/0/securityContext/privileged", "value": false},
                {"op": "replace", "path": "/spec/containers/0/volumeMounts/0/mountPropagation", "value": "HostToContainer"},
                {"op": "add", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": false}
            ])
        );
    }

    #[test]
    fn cautions_tell_what_is_lost() {
        let cautions = |context: &str| {
            let document = pod(context);
            let view = View::new(&document, &Neighbours::Unknown);
            match DropCapabilities.fix(&view, &RulesConfig::default()) {
                Fix::Repair { cautions, .. } => cautions,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(cautions("{capabilities: {drop: [ALL]}}"), []);
        assert_eq!(cautions("{capabilities: {}}"), [Caution::DefaultCapabilitiesDropped]);
        assert_eq!(cautions("{privileged: true, capabilities: {drop: [ALL]}}"), [Caution::LosesPrivilege]);
        assert_eq!(
            cautions("{allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [SYS_PTRACE]}}"),
            [Caution::LosesCapability]
        );
    }

    #[test]
    fn at_the_level_restricted_only_net_bind_service_stays() {
        let rules = RulesConfig { level: SecurityLevel::Restricted, ..RulesConfig::default() };
        for (context, drop, add) in [
            ("{}", json!(["ALL"]), Value::Null),
            ("{capabilities: {drop: [all]}}", json!(["all", "ALL"]), Value::Null),
            ("{capabilities: {drop: [ALL], add: [CHOWN]}}", json!(["ALL"]), Value::Null),
            (
                "{capabilities: {add: [SETUID, NET_BIND_SERVICE, KILL]}}",
                json!(["ALL"]),
                json!(["NET_BIND_SERVICE"]),
            ),
            ("{capabilities: {add: [net_bind_service]}}", json!(["ALL"]), Value::Null),
        ] {
            for list in ["containers", "initContainers", "ephemeralContainers"] {
                let pod = document(&format!(
                    "kind: Pod\nspec: {{{list}: [{{name: a, securityContext: {context}}}]}}"
                ));
                let view = View::new(&pod, &Neighbours::Unknown);
                let Fix::Repair { patch, .. } = DropCapabilities.fix(&view, &rules) else {
                    panic!("{context}")
                };
                let patched = Document::from_value(apply(&pod.value, &patch).unwrap()).unwrap();
                let at = |key: &str| {
                    let place = format!("/spec/{list}/0/securityContext/capabilities/{key}");
                    patched.value.pointer(&place).cloned().unwrap_or_default()
                };
                assert_eq!((at("drop"), at("add")), (drop.clone(), add.clone()), "{list} {context}");
                let after = View::new(&patched, &Neighbours::Unknown);
                assert!(
                    matches!(DropCapabilities.fix(&after, &rules), Fix::NotApplicable { .. }),
                    "{context}"
                );
            }
        }
        let kept = pod("{allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [CHOWN]}}");
        let view = View::new(&kept, &Neighbours::Unknown);
        assert!(matches!(DropCapabilities.fix(&view, &RulesConfig::default()), Fix::NotApplicable { .. }));
        assert_eq!(DropCapabilities.cleared(&view, &rules).len(), 1);
    }

    #[test]
    fn windows_has_no_capabilities() {
        let windows = |context: &str| {
            document(&format!(
                "kind: Pod\nspec: {{os: {{name: windows}}, containers: [{{name: a, securityContext: {context}}}]}}"
            ))
        };
        let reason =
            review_of(&DropCapabilities, &windows("{capabilities: {add: [NET_RAW]}}"), &Neighbours::Unknown);
        assert!(
            reason.ends_with("take out /spec/containers/0/securityContext/capabilities/add/0"),
            "{reason}"
        );
        let document = windows("{}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert!(matches!(DropCapabilities.fix(&view, &RulesConfig::default()), Fix::NotApplicable { .. }));
    }

    #[test]
    fn capabilities_of_a_wrong_type_are_a_persons_business() {
        for context in ["{capabilities: [ALL]}", "{capabilities: {drop: ALL}}"] {
            assert!(review_of(&DropCapabilities, &pod(context), &Neighbours::Unknown).contains("type"));
        }
    }
}
