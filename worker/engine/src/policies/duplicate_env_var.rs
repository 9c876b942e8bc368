//! `duplicate_env_var`: environment names are unique in a container.
//!
//! # What it checks
//! A name that stands twice in the `env` of one container (kube-linter `duplicate-env-var`), once per name.
//!
//! # Why
//! The last entry wins silently, and a server-side apply, which merges `env` by name, may keep another one
//! (Kubernetes documentation, *Server-Side Apply*).
//!
//! # Repair
//! The last entry of a name stays, as it is the one that counts; the earlier ones go, in all containers. Where an entry
//! in between refers to the name (`$(NAME)`) the earlier value is in use, and a person must choose another name for it.
//!
//! # Example
//! ```yaml
//! env: [{name: A, value: '1'}, {name: A, value: '2'}]  # before
//! env: [{name: A, value: '2'}]                         # after
//! ```

use std::collections::{BTreeMap, BTreeSet};

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::message::quoted;
use super::scope::{Scope, Site, To, may};
use crate::edit::Editor;
use crate::k8s::{Container, View};

pub(super) struct DuplicateEnvVar;

const CHECK: Check = Check {
    id: "duplicate-env-var",
    severity: Severity::Warning,
    remedy: "Keep one entry of the environment variable.",
};

/// The entries of one name.
type Entries<'a> = Vec<(usize, &'a Map<String, Value>)>;

/// The names that stand more than once, in order of their second entry.
fn duplicates<'a>(container: &Container<'a>) -> Vec<(&'a str, Entries<'a>)> {
    let mut by_name: BTreeMap<&str, Entries<'a>> = BTreeMap::new();
    for (index, entry) in container.maps("env") {
        if let Some(name) = entry.get("name").and_then(Value::as_str) {
            by_name.entry(name).or_default().push((index, entry));
        }
    }
    let mut found: Vec<_> = by_name.into_iter().filter(|(_, entries)| entries.len() > 1).collect();
    found.sort_by_key(|(_, entries)| entries.get(1).map(|(index, _)| *index));
    found
}

/// Which of `names` the values of a container's variables refer to (`$(NAME)`), each at the indices of the entries that do.
fn references<'a>(container: &Container<'a>, names: &BTreeSet<&str>) -> BTreeMap<&'a str, Vec<usize>> {
    // A text of `$($($(…)` has references of every length: only those that can be a name are looked up.
    let lengths: BTreeSet<usize> = names.iter().map(|name| name.len()).collect();
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, entry) in container.maps("env") {
        let value = entry.get("value").and_then(Value::as_str).unwrap_or_default();
        let mut close = None;
        for (at, _) in value.match_indices("$(") {
            let start = at + 2;
            // A reference ends at the next parenthesis; the same one for those that begin before it.
            if close.is_none_or(|close| close < start) {
                close = value.get(start..).and_then(|rest| rest.find(')')).map(|length| start + length);
            }
            let Some(end) = close else { break };
            let name = value.get(start..end).filter(|name| lengths.contains(&name.len()));
            if let Some(name) = name.filter(|name| names.contains(name)) {
                found.entry(name).or_default().push(index);
            }
        }
    }
    found
}

/// Whether an entry behind the first one, up to the last, uses the value of the name. `uses` are the entries that refer
/// to it, in ascending order.
fn is_used(uses: Option<&Vec<usize>>, entries: &Entries<'_>) -> bool {
    let (Some((first, _)), Some((last, _)), Some(uses)) = (entries.first(), entries.last(), uses) else {
        return false;
    };
    let next = uses.partition_point(|index| index <= first);
    uses.get(next).is_some_and(|index| index <= last)
}

const SCOPE: Scope = Scope {
    containers: |_, container, _| !duplicates(container).is_empty(),
    may: &[may(
        "{container}/env/*/**",
        &[To::If("an entry removed that a later one of its name shadows", is_shadowed)],
    )],
    companion: None,
};

/// Whether the entry is gone and the one that counts, the last of its name, stays as it was.
fn is_shadowed(site: &Site<'_, '_>) -> bool {
    let (Some([before, after]), Some(entry)) = (site.containers, site.entry_before()) else { return false };
    let last = |container: &Container<'_>| {
        let named = container.maps("env").filter(|(_, other)| other.get("name") == entry.get("name"));
        named.last().map(|(_, last)| last.clone())
    };
    site.entry_after().is_none() && last(after).is_some() && last(before) == last(after)
}

impl Policy for DuplicateEnvVar {
    fn id(&self) -> PolicyId {
        PolicyId::DuplicateEnvVar
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let found = view.containers.iter().flat_map(|container| {
            duplicates(container).into_iter().map(|(name, entries)| {
                let second = entries.get(1).map_or(0, |(index, _)| *index);
                Finding {
                    policy: self.id(),
                    check: CHECK.id,
                    message: format!(
                        "Duplicate environment variable {name} in container {} found",
                        quoted(container.name)
                    ),
                    pointer: container.pointer.child("env").index(second),
                }
            })
        });
        found.collect()
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        let mut differ = false;
        for container in &view.containers {
            let mut shadowed: Vec<usize> = Vec::new();
            let duplicates = duplicates(container);
            let names = duplicates.iter().map(|(name, _)| *name).collect();
            let references = references(container, &names);
            for (name, entries) in duplicates {
                if is_used(references.get(name), &entries) {
                    return Fix::NeedsReview {
                        reason: format!(
                            "environment variable {name} of container {} is set twice and $({name}) is used in between; give the earlier value a name of its own",
                            quoted(container.name)
                        ),
                    };
                }
                let Some(((_, last), earlier)) = entries.split_last() else { continue };
                differ |= earlier.iter().any(|(_, entry)| entry != last);
                shadowed.extend(earlier.iter().map(|(index, _)| *index));
            }
            remove_all(&mut editor, &container.pointer.child("env"), shadowed);
        }
        Fix::of(editor, differ.then_some(Caution::ShadowedValueRemoved))
    }
}

/// Removes entries from the highest index down, so that the others keep theirs.
fn remove_all(editor: &mut Editor, list: &Pointer, mut indices: Vec<usize>) {
    indices.sort_unstable();
    for index in indices.into_iter().rev() {
        editor.remove(&list.index(index));
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;
    use serde_json::json;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    #[test]
    fn fixtures() {
        fixture_holds(&DuplicateEnvVar);
    }

    #[test]
    fn the_last_entry_stays_in_every_container() {
        let document = document(
            "kind: Pod\nspec: {containers: [{name: a, env: [{name: A, value: '1'}, null, {name: B}, {name: A, value: '2'}, {name: A, value: '3'}]}], initContainers: [{name: i, env: [{name: C}, {name: C}]}]}",
        );
        assert_eq!(
            messages(&DuplicateEnvVar, &document),
            [
                r#"Duplicate environment variable A in container "a" found"#,
                r#"Duplicate environment variable C in container "i" found"#,
            ]
        );
        assert_eq!(
            fix_of(&DuplicateEnvVar, &document),
            json!([
                {"op": "remove", "path": "/spec/containers/0/env/3"},
                {"op": "remove", "path": "/spec/containers/0/env/0"},
                {"op": "remove", "path": "/spec/initContainers/0/env/0"}
            ])
        );
    }

    #[test]
    fn equal_entries_need_no_caution() {
        let cautions = |env: &str| {
            let document = document(&format!("kind: Pod\nspec: {{containers: [{{name: a, env: {env}}}]}}"));
            match DuplicateEnvVar.fix(&View::new(&document, &Neighbours::Unknown), &RulesConfig::default()) {
                Fix::Repair { cautions, .. } => cautions,
                other => panic!("no repair: {other:?}"),
            }
        };
        assert_eq!(cautions("[{name: A, value: x}, {name: A, value: x}]"), []);
        assert_eq!(cautions("[{name: A, value: x}, {name: A, value: y}]"), [Caution::ShadowedValueRemoved]);
    }

    #[test]
    fn a_value_in_use_is_not_removed() {
        for env in [
            "[{name: A, value: '1'}, {name: B, value: 'x$(A)'}, {name: A, value: '2'}]",
            "[{name: PATH, value: /a}, {name: PATH, value: '$(PATH):/b'}]",
        ] {
            let document = document(&format!("kind: Pod\nspec: {{containers: [{{name: a, env: {env}}}]}}"));
            assert!(review_of(&DuplicateEnvVar, &document, &Neighbours::Unknown).contains("used in between"));
        }
    }
}
