//! `drop_cap_sys_admin`: containers drop `SYS_ADMIN`.
//!
//! # What it checks
//! `securityContext.capabilities.drop` of every container holds `ALL` or `SYS_ADMIN`, in any case (built-in check
//! `cap-sys-admin`).
//!
//! A repair must show more than that, in every container: `SYS_ADMIN` is not added either, and
//! `allowPrivilegeEscalation` is false.
//!
//! # Why
//! `SYS_ADMIN` mounts file systems, changes namespaces and does dozens of other things: nearly all of root
//! (Linux manual, *capabilities(7)*).
//!
//! # Repair
//! `SYS_ADMIN` joins the list of dropped capabilities unless `ALL` is in it; where no capabilities are given, `NET_RAW`
//! is dropped with it, since giving them without that is a violation of its own (`drop_capabilities`). Added entries
//! that name it, with or without `CAP_`, go. With `rules.level: restricted` `ALL` is dropped instead, and every added name
//! but `NET_BIND_SERVICE` goes. Privileged mode goes where it was on: it grants `SYS_ADMIN` whatever is
//! dropped, and the API server refuses it beside `allowPrivilegeEscalation: false`. Windows has no capabilities.
//!
//! # Example
//! ```yaml
//! capabilities: {add: [SYS_ADMIN, CHOWN]}             # before
//! capabilities: {add: [CHOWN], drop: [SYS_ADMIN]}     # after, beside allowPrivilegeEscalation: false
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use super::security::{
    CONFINED_MOUNTS, MAY_BE_ADDED, NO_ESCALATION, UNPRIVILEGED, capabilities, capability_name, checked,
    drops_all, is_false, is_restricted, is_true, on_windows, take_away, unprivilege, windows_only,
};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct DropCapSysAdmin;

const CHECK: Check =
    Check { id: "cap-sys-admin", severity: Severity::Warning, remedy: "Drop SYS_ADMIN or ALL capabilities." };
const MESSAGE: &str = "container capabilities must drop SYS_ADMIN";

fn drops_it(container: &Container<'_>) -> bool {
    let dropped = capabilities(container, "drop");
    dropped.iter().any(|(_, name)| ["ALL", "SYS_ADMIN"].iter().any(|it| name.trim().eq_ignore_ascii_case(it)))
}

fn is_sys_admin(capability: &str) -> bool {
    capability_name(capability) == "SYS_ADMIN"
}

/// Whether a repair may not leave the capability in `capabilities.add`, as the rules are set.
fn is_refused(capability: &str, rules: &RulesConfig) -> bool {
    if is_restricted(rules) { capability != MAY_BE_ADDED } else { is_sys_admin(capability) }
}

/// What a repair still has to do for the container.
fn shortcomings(container: &Container<'_>, rules: &RulesConfig) -> Vec<String> {
    let mut found = Vec::new();
    let name = quoted(container.name);
    if is_restricted(rules) && !drops_all(container, rules) {
        found.push(format!("container {name}: capabilities.drop must include ALL"));
    } else if !drops_it(container) {
        found.push(format!("container {name}: capabilities.drop must include SYS_ADMIN or ALL"));
    }
    let added = capabilities(container, "add").into_iter().map(|(_, name)| name);
    for name_added in added.filter(|name| is_refused(name, rules)) {
        found.push(format!("container {name}: capabilities.add must not include {name_added}"));
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
    let given = container.security_pointer(&["capabilities"]);
    if is_restricted(rules) {
        if !drops_all(container, rules) {
            editor.append(&given.child("drop"), json!("ALL"));
            cautions.push(Caution::DefaultCapabilitiesDropped);
        }
    } else if !drops_it(container) {
        if editor.value(&given).is_none_or(Value::is_null) {
            editor.set(&given, json!({"drop": ["NET_RAW", "SYS_ADMIN"]}));
            cautions.push(Caution::NetRawDropped);
        } else {
            editor.append(&given.child("drop"), json!("SYS_ADMIN"));
        }
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
        !on_windows(view, container) && !shortcomings(container, rules).is_empty()
    },
    may: &[
        may(
            "{container}/securityContext/capabilities/drop/*",
            &[To::If("`ALL`, `SYS_ADMIN` or `NET_RAW` added", is_dropped)],
        ),
        may(
            "{container}/securityContext/capabilities/add/*",
            &[To::If("a name removed that may not be added", is_taken_away)],
        ),
        NO_ESCALATION,
        UNPRIVILEGED,
        CONFINED_MOUNTS,
    ],
    companion: None,
};

fn is_dropped(site: &Site<'_, '_>) -> bool {
    let name = site.text().map(capability_name);
    site.change.was.is_none() && matches!(name.as_deref(), Some("ALL" | "SYS_ADMIN" | "NET_RAW"))
}

fn is_taken_away(site: &Site<'_, '_>) -> bool {
    let was = site.change.was.and_then(Value::as_str);
    site.change.is.is_none() && was.is_some_and(|was| is_refused(was, site.rules))
}

impl Policy for DropCapSysAdmin {
    fn id(&self) -> PolicyId {
        PolicyId::DropCapSysAdmin
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let keeping = view.containers.iter().filter(|container| !drops_it(container));
        keeping
            .map(|container| Finding {
                policy: self.id(),
                check: CHECK.id,
                message: MESSAGE.to_owned(),
                pointer: view.nearest(container.security_pointer(&["capabilities", "drop"])),
            })
            .collect()
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        if let Some(fix) = windows_only(view, "capabilities") {
            return fix;
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
    use crate::testing::{document, findings, fix_of, fixture_holds, messages, review_of};

    fn pod(context: &str) -> crate::document::Document {
        document(&format!("kind: Pod\nspec: {{containers: [{{name: a, securityContext: {context}}}]}}"))
    }

    #[test]
    fn fixtures() {
        fixture_holds(&DropCapSysAdmin);
    }

    #[test]
    fn all_or_the_name_in_any_case_drops_it() {
        for context in
            ["null", "{}", "{capabilities: {drop: [CHOWN]}}", "{capabilities: {drop: [CAP_SYS_ADMIN]}}"]
        {
            assert_eq!(messages(&DropCapSysAdmin, &pod(context)), [MESSAGE], "{context}");
        }
        for context in ["{capabilities: {drop: [all]}}", "{capabilities: {drop: [' sys_admin']}}"] {
            assert_eq!(messages(&DropCapSysAdmin, &pod(context)), [""; 0], "{context}");
        }
        let found = findings(&DropCapSysAdmin, &pod("{capabilities: {add: []}}"));
        assert_eq!(found[0].pointer.as_str(), "/spec/containers/0/securityContext/capabilities");
    }

    #[test]
    fn what_is_added_goes_and_what_is_harmless_stays() {
        assert_eq!(
            fix_of(&DropCapSysAdmin, &pod("{capabilities: {add: [SYS_ADMIN, CHOWN, CAP_SYS_ADMIN]}}")),
            json!([
                {"op": "add", "path": "/spec/containers/0/securityContext/capabilities/drop", "value": ["SYS_ADMIN"]},
                {"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add/2"},
                {"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add/0"},
                {"op": "add", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": false}
            ])
        );
    }

    #[test]
    fn all_is_honoured() {
        assert_eq!(
            fix_of(&DropCapSysAdmin, &pod("{capabilities: {drop: [ALL]}}")),
            json!([{"op": "add", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": false}])
        );
    }

    #[test]
    fn all_containers_and_privileged_mode() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a}], initContainers: [{name: b, securityContext: {privileged: true, capabilities: {drop: [SYS_ADMIN]}}}]}",
        );
        assert_eq!(
            fix_of(&DropCapSysAdmin, &document),
            json!([
                {"op": "add", "path": "/spec/containers/0/securityContext", "value": {"capabilities": {"drop": ["NET_RAW", "SYS_ADMIN"]}}},
                {"op": "add", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": false},
                {"op": "replace", "path": "/spec/initContainers/0/securityContext/privileged", "value": false},
                {"op": "add", "path": "/spec/initContainers/0/securityContext/allowPrivilegeEscalation", "value": false}
            ])
        );
    }

    #[test]
    fn cautions_name_what_the_patch_drops() {
        let restricted = RulesConfig { level: SecurityLevel::Restricted, ..RulesConfig::default() };
        let cautions = |context: &str, rules: &RulesConfig| {
            let document = pod(context);
            match DropCapSysAdmin.fix(&View::new(&document, &Neighbours::Unknown), rules) {
                Fix::Repair { cautions, .. } => cautions,
                other => panic!("{other:?}"),
            }
        };
        let baseline = RulesConfig::default();
        assert_eq!(cautions("{}", &baseline), [Caution::NetRawDropped]);
        assert_eq!(cautions("{capabilities: {drop: [MKNOD]}}", &baseline), []);
        assert_eq!(cautions("{capabilities: {drop: [SYS_ADMIN]}}", &baseline), []);
        assert_eq!(cautions("{capabilities: {add: [SYS_ADMIN]}}", &baseline), [Caution::LosesCapability]);
        assert_eq!(cautions("{}", &restricted), [Caution::DefaultCapabilitiesDropped]);
        assert_eq!(
            cautions("{capabilities: {drop: [SYS_ADMIN], add: [CHOWN]}}", &restricted),
            [Caution::LosesCapability, Caution::DefaultCapabilitiesDropped]
        );
        assert!(Caution::NetRawDropped.sentence().contains("NET_RAW"));
        assert!(
            !Caution::DefaultCapabilitiesDropped.sentence().contains("NET_RAW"),
            "some are dropped already"
        );
    }

    #[test]
    fn windows_and_wrong_types() {
        let document = document("kind: Pod\nspec: {os: {name: windows}, containers: [{name: a}]}");
        let view = View::new(&document, &Neighbours::Unknown);
        assert!(matches!(DropCapSysAdmin.fix(&view, &RulesConfig::default()), Fix::NotApplicable { .. }));
        let reason = review_of(&DropCapSysAdmin, &pod("{capabilities: {drop: ALL}}"), &Neighbours::Unknown);
        assert!(reason.contains("type"), "{reason}");
    }
}
