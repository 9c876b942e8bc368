//! Shared by `no_host_ipc`, `no_host_network` and `no_host_pid`: finds and clears a boolean flag of the pod spec. The
//! same key elsewhere in a document is ignored.

use domain::outcome::Caution;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy};
use crate::edit::Editor;
use crate::k8s::{Pod, View};

/// Whether the pod spec sets the flag to true.
pub(super) fn is_set(pod: &Pod<'_>, flag: &str) -> bool {
    pod.spec.get(flag) == Some(&Value::Bool(true))
}

/// A finding for every pod that sets the flag.
pub(super) fn detect(
    policy: &impl Policy,
    view: &View<'_>,
    flag: &str,
    check: &Check,
    message: &str,
) -> Vec<Finding> {
    let pods = view.pods.iter().filter(|pod| is_set(pod, flag));
    pods.map(|pod| Finding {
        policy: policy.id(),
        check: check.id,
        message: message.to_owned(),
        pointer: pod.pointer.child(flag),
    })
    .collect()
}

/// Sets the flag to false in every pod that sets it to true. `also` makes further edits to such a pod, for fields that
/// depend on the flag.
pub(super) fn fix(view: &View<'_>, flag: &str, also: impl Fn(&mut Editor, &Pod<'_>)) -> Fix {
    let mut editor = Editor::new(view.value);
    for pod in view.pods.iter().filter(|pod| is_set(pod, flag)) {
        editor.set(&pod.pointer.child(flag), json!(false));
        also(&mut editor, pod);
    }
    Fix::of(editor, [Caution::LosesHostNamespace])
}
