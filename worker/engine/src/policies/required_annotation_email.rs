//! `required_annotation_email`: a workload says whom to write to.
//!
//! # What it checks
//! A workload without an annotation whose key has `email` in it and whose value an address (kube-linter
//! `required-annotation-email`).
//!
//! # Why
//! Who is woken by an alert has to know who runs the program (kube-linter documentation).
//!
//! # Repair
//! None: no manifest says who that is.
//!
//! # Example
//! ```yaml
//! metadata: {name: web}                                                # found
//! metadata: {name: web, annotations: {email: shop-team@example.com}}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct RequiredAnnotationEmail;

const MESSAGE: &str =
    r#"no annotation matching "email=[a-zA-Z0-9_.+-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+" found"#;

/// Whether an address is anywhere in the text: something before the `@`, a name after it, a dot and one more character.
fn has_address(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices('@').any(|(at, _)| {
        let (before, after) = text.split_at(at);
        let after = after.strip_prefix('@').unwrap_or_default();
        let rest = after.trim_start_matches(of_name);
        before.ends_with(|c: char| of_name(c) || "_.+".contains(c))
            && rest.len() < after.len()
            && rest.strip_prefix('.').is_some_and(|end| end.starts_with(|c: char| of_name(c) || c == '.'))
    })
}

fn has_email(metadata: Option<&Map<String, Value>>) -> bool {
    let annotations = metadata.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object);
    let is_one =
        |(key, value): (&String, &Value)| key.contains("email") && value.as_str().is_some_and(has_address);
    annotations.is_some_and(|annotations| annotations.iter().any(is_one))
}

impl Reviewed for RequiredAnnotationEmail {
    const ID: PolicyId = PolicyId::RequiredAnnotationEmail;

    const CHECK: &'static Check = &Check {
        id: "required-annotation-email",
        severity: Severity::Warning,
        remedy: "Write the address of those who run the workload into the annotation email.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let is_found = view.is_workload() && !has_email(view.metadata());
        is_found.then(|| (Pointer::of(["metadata", "annotations"]), MESSAGE.to_owned())).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say who runs the workload, and write their address into the annotation email".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&RequiredAnnotationEmail);
    }

    #[test]
    fn an_address_is_looked_for() {
        for (annotations, count) in [
            ("{}", 1),
            ("{email: a@b.c}", 0),
            ("{contact-email: 'the team <a.b+c@shop-x.example.com>'}", 0),
            ("{mail: a@b.c}", 1),
            ("{email: a@b}", 1),
            ("{email: '@b.c'}", 1),
            ("{email: 'a@.c'}", 1),
            ("{email: 'a@b. c'}", 1),
            ("{email: 'a@b..'}", 0),
            ("{email: 5}", 1),
        ] {
            let pod = document(&format!("kind: Pod\nmetadata: {{annotations: {annotations}}}"));
            assert_eq!(messages(&RequiredAnnotationEmail, &pod).len(), count, "{annotations}");
        }
        assert_eq!(messages(&RequiredAnnotationEmail, &document("kind: Service")), Vec::<String>::new());
    }
}
