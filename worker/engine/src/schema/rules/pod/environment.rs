//! Variables of containers.

use super::super::errors::Errors;
use super::super::features::Feature;
use super::super::node::Node;
use super::super::references;
use super::super::text;

const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// What a name of a variable must be.
fn naming(errors: &Errors) -> fn(&str) -> text::Messages {
    if errors.has(Feature::RelaxedEnvironmentVariableValidation) {
        text::variable
    } else {
        text::strict_variable
    }
}

/// `env`.
pub(super) fn variables(errors: &mut Errors, variables: &Node<'_, '_>) {
    let naming = naming(errors);
    for variable in variables.entries() {
        errors.needs_checked(&variable.get("name"), naming);
        let source = variable.get("valueFrom");
        if source.is_set() {
            value_from(errors, &source, !variable.get("value").is_empty());
        }
    }
}

fn value_from(errors: &mut Errors, source: &Node<'_, '_>, has_value: bool) {
    let field = source.get("fieldRef");
    if field.is_set() {
        references::field(errors, &field, references::VARIABLE_FIELDS);
    }
    let resource = source.get("resourceFieldRef");
    if resource.is_set() {
        references::resource(errors, &resource, false);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let reference = source.get(kind);
        if reference.is_set() {
            errors.check(&reference.get("name"), text::subdomain);
            errors.needs_checked(&reference.get("key"), text::config_key);
        }
    }
    let file = source.get("fileKeyRef");
    if file.is_set() {
        errors.needs_checked(&file.get("key"), text::variable);
        errors.needs_checked(&file.get("volumeName"), text::label);
        errors.needs_checked(&file.get("path"), text::no_backsteps);
    }
    let detail = match SOURCES.iter().filter(|kind| source.get(kind).is_set()).count() {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid_text(source, "", detail);
}

/// `envFrom`. The server places some errors at the list.
pub(super) fn sources(errors: &mut Errors, list: &Node<'_, '_>) {
    let naming = naming(errors);
    for source in list.entries() {
        errors.check_if_any(&source.get("prefix"), naming);
        let mut count = 0;
        for kind in ["configMapRef", "secretRef"] {
            let reference = source.get(kind);
            if reference.is_set() {
                count += 1;
                let name = reference.get("name");
                if errors.needs(&name) {
                    prefix_like(errors, &name);
                }
            }
        }
        match count {
            0 => errors.invalid_text(list, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_text(list, "", "may not have more than one field specified at a time"),
        }
    }
}

/// These names may end in a dash, as prefixes of generated names do.
fn prefix_like(errors: &mut Errors, name: &Node<'_, '_>) {
    let masked = super::super::meta::without_last_dash(name.str());
    for message in text::subdomain(&masked) {
        errors.invalid(name, message);
    }
}
