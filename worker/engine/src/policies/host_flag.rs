//! What the three policies about namespaces of the host share: a flag in the pod spec, and nowhere else.

use domain::outcome::Caution;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy};
use crate::edit::Editor;
use crate::k8s::{Pod, View};

/// Whether the pod sets the flag.
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
    let sharing = view.pods.iter().filter(|pod| is_set(pod, flag));
    sharing
        .map(|pod| Finding {
            policy: policy.id(),
            check: check.id,
            message: message.to_owned(),
            pointer: pod.pointer.child(flag),
        })
        .collect()
}

/// Turns the flag off in every pod that sets it. `also` repairs what only made sense with it.
pub(super) fn fix(view: &View<'_>, flag: &str, also: impl Fn(&mut Editor, &Pod<'_>)) -> Fix {
    let mut editor = Editor::new(view.value);
    for pod in view.pods.iter().filter(|pod| is_set(pod, flag)) {
        editor.set(&pod.pointer.child(flag), json!(false));
        also(&mut editor, pod);
    }
    Fix::of(editor, [Caution::LosesHostNamespace])
}
