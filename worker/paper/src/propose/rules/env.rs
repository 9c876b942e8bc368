//! Rules on environment variables.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::ops::Ops;
use super::super::walk::{Fields, Node, containers, containers_of, filled, map, maps, specs, text};

/// The first container with duplicates; the first value of each name stays.
pub(super) fn duplicate_env_var(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let mut seen = BTreeSet::new();
        let later = |(index, entry): (usize, &Fields)| {
            let name = text(entry, "name")?.trim().to_owned();
            (!name.is_empty() && !seen.insert(name)).then_some(index)
        };
        let mut duplicates: Vec<usize> = maps(container.fields, "env").filter_map(later).collect();
        duplicates.reverse();
        if !duplicates.is_empty() {
            let at = container.at.child("env");
            return duplicates.into_iter().for_each(|index| out.remove(at.index(index)));
        }
    }
}

/// Points every variable whose name speaks of a secret or a password at a Secret, whether there is one or not.
pub(crate) fn env_var_secret(document: &Value, out: &mut Ops) {
    let mut known: Option<BTreeSet<String>> = None;
    for spec in specs(document) {
        for container in containers_of(&spec) {
            for (index, entry) in maps(container.fields, "env") {
                let Some(name) = secret_name(entry) else { continue };
                let known = known.get_or_insert_with(|| {
                    let mut names = BTreeSet::new();
                    collect_names(document, &mut names);
                    names
                });
                let (secret, key) = choose(name, entry, &container, &spec, known);
                let mut entry = entry.clone();
                entry.shift_remove("value");
                let reference = json!({"secretKeyRef": {"name": secret, "key": key}});
                entry.insert("valueFrom".to_owned(), reference);
                known.insert(secret);
                out.replace(container.at.child("env").index(index), entry);
            }
        }
    }
}

/// The name of a variable that should come from a Secret and does not.
fn secret_name(entry: &Fields) -> Option<&str> {
    let name = text(entry, "name")?;
    let lower = name.to_lowercase();
    let speaks = lower.contains("secret") || lower.contains("password");
    let referred = map(entry, "valueFrom").and_then(|source| map(source, "secretKeyRef"));
    (speaks && referred.is_none()).then_some(name)
}

/// Names of Secrets anywhere in the document.
fn collect_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let secret = map(fields, "secret");
            let found = [
                filled(fields, "secretName"),
                map(fields, "secretRef").and_then(|reference| filled(reference, "name")),
                secret.and_then(|secret| filled(secret, "secretName").or_else(|| filled(secret, "name"))),
            ];
            names.extend(found.into_iter().flatten().map(str::to_owned));
            fields.values().for_each(|value| collect_names(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}

/// The Secret and its key.
fn choose(
    name: &str,
    entry: &Fields,
    container: &Node<'_>,
    spec: &Node<'_>,
    known: &BTreeSet<String>,
) -> (String, String) {
    let default_key = squeezed(name, '_', "value");
    let hint = hint(entry);
    if let Some((secret, key)) = hint.and_then(|hint| mounted(hint, name, container, spec)) {
        return (secret, key.unwrap_or(default_key));
    }
    if let Some(hint) = hint.filter(|hint| known.contains(*hint)) {
        return (hint.to_owned(), default_key);
    }
    if let Some(first) = known.first() {
        return (first.clone(), default_key);
    }
    let mut secret = squeezed(name, '-', "app");
    if !secret.ends_with("-secret") {
        secret.push_str("-secret");
    }
    (secret, default_key)
}

/// Lower case, runs of other than letters and digits as one `filler`.
fn squeezed(name: &str, filler: char, default: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with(filler) {
            text.push(filler);
        }
    }
    let text = text.trim_matches(filler);
    if text.is_empty() { default.to_owned() } else { text.to_owned() }
}

/// What the variable holds or refers to.
fn hint(entry: &Fields) -> Option<&str> {
    let source = || map(entry, "valueFrom");
    let config = || {
        let reference = map(source()?, "configMapKeyRef")?;
        text(reference, "name").or_else(|| text(reference, "key"))
    };
    let field = || text(map(source()?, "fieldRef")?, "fieldPath");
    text(entry, "value").or_else(config).or_else(field)
}

/// The Secret that is mounted where the value points, and the key that fits best among its items.
fn mounted(
    hint: &str,
    name: &str,
    container: &Node<'_>,
    spec: &Node<'_>,
) -> Option<(String, Option<String>)> {
    let path = hint.trim_end_matches('/');
    let (mount, below) = maps(container.fields, "volumeMounts").find_map(|(_, mount)| {
        let root = text(mount, "mountPath")?.trim_end_matches('/');
        let below = path.strip_prefix(root)?;
        let fits = !root.is_empty() && (below.is_empty() || below.starts_with('/'));
        fits.then(|| (mount, below.trim_start_matches('/')))
    })?;
    let volume = text(mount, "name")?;
    let (_, volume) =
        maps(spec.fields, "volumes").find(|(_, fields)| text(fields, "name") == Some(volume))?;
    let projected = || {
        let (_, source) =
            maps(map(volume, "projected")?, "sources").find(|(_, source)| map(source, "secret").is_some())?;
        map(source, "secret")
    };
    let secret = map(volume, "secret").or_else(projected)?;
    let named = filled(secret, "secretName").or_else(|| filled(secret, "name"))?;
    let mut best: Option<(Fit, Option<&str>)> = None;
    for (_, item) in maps(secret, "items") {
        let score = score(hint, below, name, item);
        if best.is_none_or(|(known, _)| score > known) {
            best = Some((score, text(item, "key")));
        }
    }
    Some((named.to_owned(), best.and_then(|(_, key)| key).map(str::to_owned)))
}

/// How well an item of a Secret fits: by value, by name, by having a key.
type Fit = (u8, bool, bool);

fn score(hint: &str, below: &str, name: &str, item: &Fields) -> Fit {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let key = text(item, "key").unwrap_or_default();
    let path = text(item, "path").unwrap_or_default();
    let dashless = |text: &str| text.replace(['-', '_'], "");
    let candidates = [
        (!path.is_empty() && below == path, 3),
        (!path.is_empty() && hint.ends_with(path), 2),
        (!key.is_empty() && !below.is_empty() && dashless(below) == dashless(key), 2),
        (!key.is_empty() && hint.contains(key), 1),
    ];
    let value = candidates.into_iter().filter(|(fits, _)| *fits).map(|(_, points)| points).max();
    (value.unwrap_or(0), !key.is_empty() && plain(key) == plain(name), !key.is_empty())
}
