//! The schema of a version: structural, and without what the server does not support.

use super::super::cel;
use super::super::errors::Errors;
use super::super::node::Node;

/// Levels of nesting. The walk over the document's structure has refused what is deeper.
const MAX_DEPTH: usize = 100;
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const META_FIELDS: &[&str] = &["metadata", "kind", "apiVersion"];

/// Fields that a schema may have at its root beside a status.
const AT_ROOT: &[&str] = &[
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Checks the `schema` of a version.
pub(super) fn check(errors: &mut Errors, holder: &Node<'_, '_>, has_status: bool) {
    let schema = holder.get("openAPIV3Schema");
    if !schema.is_set() {
        return;
    }
    if has_status {
        let odd = schema.fields().into_iter().flatten().find(|(name, value)| {
            !AT_ROOT.contains(&name.as_str()) && !value.is_null() && *value != &serde_json::Value::Bool(false)
        });
        if schema.get("type").str() != "object" {
            errors.invalid_text(
                &schema.get("type"),
                schema.get("type").str(),
                "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
            );
        } else if odd.is_some() {
            errors.invalid(
                &schema,
                "only a few fields are allowed at the root of the schema if the status subresource is enabled",
            );
        }
    }
    if schema.get("nullable").is_true() {
        errors.forbidden(&schema.get("nullable"), "nullable cannot be true at the root");
    }
    // A schema that uses what is not supported is not looked at for its structure.
    if !uses_unsupported(&schema, 0) {
        structural(errors, &schema, Level::Root, 0);
    }
    supported(errors, &schema, 0);
}

const UNSUPPORTED: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];

fn is_used(value: &Node<'_, '_>) -> bool {
    value.is_set() && (!value.is_empty() || value.value().is_some_and(serde_json::Value::is_boolean))
}

fn uses_unsupported(schema: &Node<'_, '_>, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    let items = schema.get("items");
    UNSUPPORTED.iter().any(|field| is_used(&schema.get(field)))
        || (!items.is_empty() && items.fields().is_none())
        || ["items", "additionalProperties", "not"].iter().any(|child| {
            let child = schema.get(child);
            child.fields().is_some() && uses_unsupported(&child, depth + 1)
        })
        || schema.get("properties").pairs().any(|(_, property)| uses_unsupported(&property, depth + 1))
        || ["allOf", "anyOf", "oneOf"]
            .iter()
            .any(|list| schema.get(list).entries().any(|entry| uses_unsupported(&entry, depth + 1)))
}

fn has(schema: &Node<'_, '_>, extension: &str) -> bool {
    schema.get(extension).is_true()
}

/// What makes a schema structural: a type for every value, and conditions apart.
fn structural(errors: &mut Errors, schema: &Node<'_, '_>, level: Level, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    let (kind, items) = (schema.get("type"), schema.get("items"));
    if kind.str() == "array" && !items.is_set() {
        errors.required(&items, "must be specified");
    }
    if items.fields().is_some() {
        structural(errors, &items, Level::Item, depth + 1);
    }
    let properties = schema.get("properties");
    for (_, property) in properties.pairs() {
        structural(errors, &property, Level::Field, depth + 1);
    }
    let additional = schema.get("additionalProperties");
    if additional.is_set() {
        if level == Level::Root {
            errors.forbidden(&additional, "must not be used at the root");
        }
        if additional.fields().is_some() {
            structural(errors, &additional, Level::Field, depth + 1);
        }
    }
    conditions(errors, schema, depth);
    types(errors, schema, level);
    if level == Level::Root || has(schema, "x-kubernetes-embedded-resource") {
        for name in ["kind", "apiVersion"] {
            let property = properties.key(name);
            if property.is_set() && property.get("type").str() != "string" {
                errors.invalid_text(&property.get("type"), property.get("type").str(), "must be string");
            }
        }
        metadata(errors, &properties.key("metadata"), level);
    }
}

fn types(errors: &mut Errors, schema: &Node<'_, '_>, level: Level) {
    let kind = schema.get("type");
    let embeds = has(schema, "x-kubernetes-embedded-resource");
    let is_open =
        has(schema, "x-kubernetes-int-or-string") || has(schema, "x-kubernetes-preserve-unknown-fields");
    if embeds && kind.str() != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() {
            errors.required(&kind, detail);
        } else {
            errors.invalid(&kind, detail);
        }
    } else if kind.is_empty() && !is_open {
        errors.required(
            &kind,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        );
    }
    if level == Level::Root && !kind.is_empty() && kind.str() != "object" {
        errors.invalid(&kind, "must be object at the root");
    }
    if has(schema, "x-kubernetes-int-or-string") {
        for other in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if has(schema, other) {
                errors.invalid(&schema.get(other), "must be false if x-kubernetes-int-or-string is true");
            }
        }
    }
    if embeds {
        errors.forbidden_if_set(
            &schema.get("additionalProperties"),
            "must not be used if x-kubernetes-embedded-resource is set",
        );
        if !has(schema, "x-kubernetes-preserve-unknown-fields") && schema.get("properties").is_empty() {
            errors.required(
                &schema.get("properties"),
                "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            );
        }
    }
}

/// The metadata of a custom resource may only say what its names look like.
fn metadata(errors: &mut Errors, metadata: &Node<'_, '_>, level: Level) {
    if !metadata.is_set() {
        return;
    }
    if metadata.get("type").str() != "object" {
        errors.invalid_text(&metadata.get("type"), metadata.get("type").str(), "must be object");
    }
    let is_plain = metadata.fields().into_iter().flatten().all(|(field, value)| match field.as_str() {
        "type" | "default" => true,
        "properties" => value.as_object().is_some_and(|properties| {
            properties.keys().all(|name| ["name", "generateName"].contains(&name.as_str()))
        }),
        _ => value.is_null() || *value == serde_json::Value::Bool(false) || value.as_str() == Some(""),
    });
    if level == Level::Root && !is_plain {
        errors.forbidden(
            metadata,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
}

/// `anyOf` of an integer and a string may say so itself.
fn is_int_or_string(list: &Node<'_, '_>) -> bool {
    let mut kinds = list.entries().map(|entry| (entry.len(), entry.get("type").str()));
    kinds.next() == Some((1, "integer")) && kinds.next() == Some((1, "string")) && kinds.next().is_none()
}

/// `allOf`, `anyOf`, `oneOf`, `not`, `pattern`.
fn conditions(errors: &mut Errors, schema: &Node<'_, '_>, depth: usize) {
    let (any, all) = (schema.get("anyOf"), schema.get("allOf"));
    let skips_first = all.index(0).get("anyOf").is_set() && is_int_or_string(&all.index(0).get("anyOf"));
    if !is_int_or_string(&any) {
        for entry in any.entries() {
            condition(errors, &entry, false, depth + 1);
        }
    }
    for (index, entry) in all.entries().enumerate() {
        condition(errors, &entry, skips_first && index == 0, depth + 1);
    }
    for entry in schema.get("oneOf").entries() {
        condition(errors, &entry, false, depth + 1);
    }
    if schema.get("not").is_set() {
        condition(errors, &schema.get("not"), false, depth + 1);
    }
    let pattern = schema.get("pattern");
    if let Some(problem) = pattern_problem(pattern.str()) {
        errors.invalid(
            &pattern,
            &format!("must be a valid regular expression, but isn't: error parsing regexp: {problem}"),
        );
    }
}

/// A schema inside a condition: it may restrict values, but describe nothing.
fn condition(errors: &mut Errors, schema: &Node<'_, '_>, skips_any: bool, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    if skips_any {
        for list in ["allOf", "oneOf"] {
            for entry in schema.get(list).entries() {
                condition(errors, &entry, false, depth + 1);
            }
        }
    } else {
        conditions(errors, schema, depth);
    }
    if schema.get("items").fields().is_some() {
        condition(errors, &schema.get("items"), false, depth + 1);
    }
    let properties = schema.get("properties");
    for (name, property) in properties.pairs() {
        condition(errors, &property, false, depth + 1);
        if name == "metadata" {
            errors.forbidden(&property, "must not be specified in a nested context");
        }
    }
    for (field, detail) in [
        ("type", "must be empty to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        let field = schema.get(field);
        if !field.is_empty() {
            errors.forbidden(&field, detail);
        }
    }
    for field in ["additionalProperties", "default", "x-kubernetes-list-type", "x-kubernetes-map-type"] {
        errors.forbidden_if_set(&schema.get(field), "must be undefined to be structural");
    }
    for field in [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        if has(schema, field) {
            errors.forbidden(&schema.get(field), "must be false to be structural");
        }
    }
}

/// The brackets and repetitions of a regular expression. A full check would need the server's own library.
fn pattern_problem(pattern: &str) -> Option<&'static str> {
    let (mut open, mut in_class, mut can_repeat) = (0_usize, false, false);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(escaped) = chars.next() else {
                    return Some("trailing backslash at end of expression: ``");
                };
                if escaped.is_ascii_digit() && escaped != '0' {
                    return Some("invalid escape sequence");
                }
                can_repeat = true;
            }
            ']' if in_class => (in_class, can_repeat) = (false, true),
            '[' if !in_class => {
                in_class = true;
                if chars.peek() == Some(&'^') {
                    chars.next();
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                }
            }
            _ if in_class => {}
            '(' => {
                open += 1;
                can_repeat = false;
                if chars.peek() == Some(&'?') {
                    chars.next();
                    let kind = chars.next();
                    let after = chars.peek().copied();
                    if matches!(kind, Some('=' | '!'))
                        || kind == Some('<') && matches!(after, Some('=' | '!'))
                    {
                        return Some("invalid or unsupported Perl syntax");
                    }
                }
            }
            ')' => {
                if open == 0 {
                    return Some("unexpected )");
                }
                open -= 1;
                can_repeat = true;
            }
            '*' | '+' | '?' => {
                if !can_repeat {
                    return Some("missing argument to repetition operator");
                }
                if chars.peek() == Some(&'?') {
                    chars.next();
                }
                if matches!(chars.peek(), Some('*' | '+')) {
                    return Some("invalid nested repetition operator");
                }
            }
            '|' | '^' => can_repeat = false,
            _ => can_repeat = true,
        }
    }
    match (in_class, open) {
        (true, _) => Some("missing closing ]"),
        (false, 0) => None,
        (false, _) => Some("missing closing )"),
    }
}

/// What the server does not support, at all levels.
fn supported(errors: &mut Errors, schema: &Node<'_, '_>, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    let kind = schema.get("type");
    if !kind.is_empty() && !TYPES.contains(&kind.str()) {
        errors.unsupported(&kind, TYPES);
    }
    for field in UNSUPPORTED {
        let value = schema.get(field);
        if is_used(&value) {
            errors.forbidden(&value, &format!("{field} is not supported"));
        }
    }
    let items = schema.get("items");
    if !items.is_empty() && items.fields().is_none() {
        errors.forbidden(&items, "items must be a schema object and not an array");
    }
    if schema.get("uniqueItems").is_true() {
        errors.forbidden(
            &schema.get("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    let (properties, additional) = (schema.get("properties"), schema.get("additionalProperties"));
    if !properties.is_empty() && (additional.fields().is_some() || additional.flag() == Some(false)) {
        errors.forbidden(&additional, "additionalProperties and properties are mutual exclusive");
    }
    if schema.get("x-kubernetes-preserve-unknown-fields").flag() == Some(false) {
        errors.invalid(&schema.get("x-kubernetes-preserve-unknown-fields"), "must be true or undefined");
    }
    collections(errors, schema);
    validations(errors, schema);
    if depth == 0 {
        for name in META_FIELDS {
            let property = properties.key(name);
            errors
                .forbidden_if_set(&property.get("default"), &format!("must not be set in top-level {name}"));
        }
    }
    for child in ["items", "additionalProperties", "not"] {
        let child = schema.get(child);
        if child.fields().is_some() {
            supported(errors, &child, depth + 1);
        }
    }
    for (_, property) in properties.pairs() {
        supported(errors, &property, depth + 1);
    }
    for list in ["allOf", "anyOf", "oneOf"] {
        for entry in schema.get(list).entries() {
            supported(errors, &entry, depth + 1);
        }
    }
}

fn must_be(errors: &mut Errors, schema: &Node<'_, '_>, wanted: &str, extension: &str) {
    let kind = schema.get("type");
    let detail = format!("must be {wanted} if {extension} is specified");
    if kind.is_empty() {
        errors.required(&kind, &detail);
    } else if kind.str() != wanted {
        errors.invalid(&kind, &detail);
    }
}

/// How maps and lists are merged.
fn collections(errors: &mut Errors, schema: &Node<'_, '_>) {
    let (map, list) = (schema.get("x-kubernetes-map-type"), schema.get("x-kubernetes-list-type"));
    if map.is_set() {
        must_be(errors, schema, "object", "x-kubernetes-map-type");
        errors.one_of(&map, &["atomic", "granular"]);
    }
    if list.is_set() {
        must_be(errors, schema, "array", "x-kubernetes-list-type");
        errors.one_of(&list, &["atomic", "set", "map"]);
    }
    let (keys, items) = (schema.get("x-kubernetes-list-map-keys"), schema.get("items"));
    if !keys.is_empty() && list.str() != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        if list.is_set() {
            errors.invalid(&list, detail);
        } else {
            errors.required(&list, detail);
        }
    }
    if ["set", "map"].contains(&list.str()) && items.get("nullable").is_true() {
        errors.forbidden(
            &items.get("nullable"),
            &format!("cannot be nullable when x-kubernetes-list-type is {}", list.str()),
        );
    }
    if list.str() == "set"
        && items.get("type").str() == "object"
        && items.get("x-kubernetes-map-type").str() != "atomic"
    {
        errors.invalid(
            &items.get("x-kubernetes-map-type"),
            "must be atomic as item of a list with x-kubernetes-list-type=set",
        );
    }
    if list.str() != "map" {
        return;
    }
    if keys.is_empty() {
        errors.required(&keys, "must not be empty if x-kubernetes-list-type is map");
    }
    if !items.is_set() {
        return errors.required(&items, "must have a schema if x-kubernetes-list-type is map");
    }
    if items.get("type").str() != "object" {
        return errors.invalid_text(
            &items.get("type"),
            items.get("type").str(),
            "must be object if parent array's x-kubernetes-list-type is map",
        );
    }
    let properties = items.get("properties");
    for key in keys.texts() {
        let property = properties.key(key);
        if !property.is_set() {
            errors.invalid(&keys, "entries must all be names of item properties");
            continue;
        }
        if ["array", "object"].contains(&property.get("type").str()) {
            errors.invalid(
                &property.get("type"),
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            );
        }
        let is_required = items.get("required").texts().any(|required| required == key);
        if !is_required && !property.get("default").is_set() {
            errors.required(
                &property.get("default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
        if property.get("nullable").is_true() {
            errors.forbidden(
                &property.get("nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            );
        }
        if keys.texts().filter(|other| *other == key).count() > 1 {
            errors.invalid(&keys, "must not contain duplicate entries");
        }
    }
}

/// `x-kubernetes-validations`.
fn validations(errors: &mut Errors, schema: &Node<'_, '_>) {
    const REASONS: &[&str] =
        &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    for validation in schema.get("x-kubernetes-validations").entries() {
        let (rule, message) = (validation.get("rule"), validation.get("message"));
        let has_break = |text: &str| text.trim().contains(['\n', '\r']);
        if rule.str().trim().is_empty() {
            errors.required(&rule, "rule is not specified");
        } else if !message.is_empty() && message.str().trim().is_empty() {
            errors.invalid(&message, "must be non-empty if specified");
        } else if has_break(message.str()) {
            errors.invalid(&message, "must not contain line breaks");
        } else if has_break(rule.str()) && message.str().trim().is_empty() {
            errors.required(&message, "message must be specified if rule contains line breaks");
        } else {
            match cel::check(rule.str(), &["self", "oldSelf"]) {
                Err(problem) => errors.invalid(&rule, &format!("compilation failed: ERROR: {problem}")),
                Ok(cel::Type::Bool | cel::Type::Unknown) => {}
                Ok(_) => errors.invalid(&rule, "cel expression must evaluate to a bool"),
            }
        }
        errors.one_of(&validation.get("reason"), REASONS);
    }
}
