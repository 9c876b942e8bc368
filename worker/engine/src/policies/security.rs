//! What the policies about security contexts share: effective values, capabilities, privileged mode, Windows.

use domain::config::{RulesConfig, SecurityLevel};
use domain::outcome::Caution;
use domain::pointer::Pointer;
use serde_json::{Value, json};

use super::contract::{Fix, Policy};
use super::scope::{May, Site, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, Pod, View};

/// The value that holds for a container: its own, else its pod's. Null counts as absent.
pub(super) fn effective<'a>(view: &View<'a>, container: &Container<'a>, key: &str) -> Option<&'a Value> {
    view.effective(container, key)
}

/// Privileged mode goes.
pub(super) const UNPRIVILEGED: May = may("{container}/securityContext/privileged", &[To::False, To::Gone]);

/// Mounts no longer propagate to the host, which only privileged containers may let them.
pub(super) const CONFINED_MOUNTS: May = may(
    "{container}/volumeMounts/*/mountPropagation",
    &[To::If("`HostToContainer`, `None` or nothing in place of `Bidirectional`", is_confined_mount)],
);

/// No process gains privileges.
pub(super) const NO_ESCALATION: May =
    may("{container}/securityContext/allowPrivilegeEscalation", &[To::False]);

fn is_confined_mount(site: &Site<'_, '_>) -> bool {
    site.change.was.and_then(Value::as_str) == Some("Bidirectional")
        && (site.change.is.is_none() || matches!(site.text(), Some("HostToContainer" | "None")))
}

/// Whether a 0 goes.
pub(super) fn is_removed_zero(site: &Site<'_, '_>) -> bool {
    site.change.is.is_none() && site.change.was.and_then(Value::as_i64) == Some(0)
}

/// The value that the pod of a container gives to all its containers. Null counts as absent.
pub(super) fn pod_level<'a>(view: &View<'a>, container: &Container<'a>, key: &str) -> Option<&'a Value> {
    let context = view.pod_of(container).and_then(Pod::security_context);
    context.and_then(|context| context.get(key)).filter(|value| !value.is_null())
}

/// Whether the container itself sets `key` to true.
pub(super) fn is_true(container: &Container<'_>, key: &str) -> bool {
    container.security_context().and_then(|context| context.get(key)) == Some(&Value::Bool(true))
}

/// Whether the container itself sets `key` to false.
pub(super) fn is_false(container: &Container<'_>, key: &str) -> bool {
    container.security_context().and_then(|context| context.get(key)) == Some(&Value::Bool(false))
}

/// Whether the container runs on Windows, where Linux-only fields must not be set
/// (Kubernetes documentation, *Windows containers in Kubernetes*).
pub(super) fn on_windows(view: &View<'_>, container: &Container<'_>) -> bool {
    view.pod_of(container).is_some_and(Pod::is_windows)
}

/// The answer for a document whose pods all run on Windows, where the fields `what` do not exist; `None` for others.
pub(super) fn windows_only(view: &View<'_>, what: &str) -> Option<Fix> {
    (!view.pods.is_empty() && view.pods.iter().all(Pod::is_windows)).then(|| Fix::NotApplicable {
        reason: format!("the pod runs on Windows, where {what} must not be set"),
    })
}

/// Takes privileged mode away where the container has it, and what the API server allows for privileged containers
/// only: mounts that propagate to the host.
pub(super) fn unprivilege(editor: &mut Editor, container: &Container<'_>) {
    if !is_true(container, "privileged") {
        return;
    }
    editor.set(&container.security_pointer(&["privileged"]), json!(false));
    for (index, mount) in container.maps("volumeMounts") {
        if mount.get("mountPropagation").and_then(Value::as_str) == Some("Bidirectional") {
            let mount = container.pointer.child("volumeMounts").index(index);
            editor.set(&mount.child("mountPropagation"), json!("HostToContainer"));
        }
    }
}

/// The texts of a container's `capabilities.add` or `.drop` with their true indices.
pub(super) fn capabilities<'a>(container: &Container<'a>, list: &str) -> Vec<(usize, &'a str)> {
    let capabilities = container.security_context().and_then(|context| context.get("capabilities"));
    let entries = capabilities.and_then(|map| map.get(list)).and_then(Value::as_array);
    let texts = entries.into_iter().flatten().enumerate();
    texts.filter_map(|(index, entry)| entry.as_str().map(|text| (index, text))).collect()
}

/// A capability's name as the kernel's without its prefix: upper case, no `CAP_`, no blanks around it.
pub(super) fn capability_name(text: &str) -> String {
    let name = text.trim().to_ascii_uppercase();
    name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
}

/// The one capability that the profile *Restricted* lets a container add, written as the API server compares it.
pub(super) const MAY_BE_ADDED: &str = "NET_BIND_SERVICE";

/// Whether a repair reaches the profile *Restricted* of the Pod Security Standards.
pub(super) fn is_restricted(rules: &RulesConfig) -> bool {
    rules.level == SecurityLevel::Restricted
}

/// Whether the container drops ALL: in any case, or as the profile *Restricted* has it written.
pub(super) fn drops_all(container: &Container<'_>, rules: &RulesConfig) -> bool {
    let is_all = |name: &str| {
        if is_restricted(rules) { name == "ALL" } else { name.eq_ignore_ascii_case("all") }
    };
    capabilities(container, "drop").iter().any(|(_, name)| is_all(name))
}

/// Takes the entries of `capabilities.add` for which `is_refused` holds away, and the list when nothing is left of it.
/// Whether there were any.
pub(super) fn take_away(
    editor: &mut Editor,
    container: &Container<'_>,
    is_refused: impl Fn(&str) -> bool,
) -> bool {
    let list = container.security_pointer(&["capabilities", "add"]);
    let refused: Vec<usize> = capabilities(container, "add")
        .into_iter()
        .filter_map(|(index, name)| is_refused(name).then_some(index))
        .collect();
    remove_entries(editor, &list, &refused);
    !refused.is_empty()
}

/// Removes entries (ascending indices) of a list from its end to its beginning; the list itself when it would be empty.
pub(super) fn remove_entries(editor: &mut Editor, list: &Pointer, indices: &[usize]) {
    let length = editor.value(list).and_then(Value::as_array).map_or(0, Vec::len);
    if !indices.is_empty() && indices.len() == length {
        editor.remove(list);
        return;
    }
    for index in indices.iter().rev() {
        editor.remove(&list.index(*index));
    }
}

/// The repair, if the policy holds after it. It does not where the document is malformed at the place of the repair: a
/// text for a map, say.
pub(super) fn checked(
    policy: &impl Policy,
    view: &View<'_>,
    rules: &RulesConfig,
    editor: Editor,
    cautions: impl IntoIterator<Item = Caution>,
) -> Fix {
    let patched = View::of(editor.document(), view.identity, view.neighbours);
    match policy.cleared(&patched, rules).into_iter().next() {
        None => Fix::of(editor, cautions),
        Some(left) => Fix::NeedsReview {
            reason: format!("a field has a type that Kubernetes does not know ({left}); correct it by hand"),
        },
    }
}
