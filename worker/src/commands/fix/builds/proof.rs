//! Whether a repair of a file gives what is expected of it: everything that is named is rendered again.

use std::collections::BTreeSet;

use corpus::{Inputs, Positions, Scan};
use domain::config::{Context, RunConfig};
use domain::policy::PolicyId;
use serde_json::Value;

use super::plan::Edit;
use crate::commands::builds::Buildable;

/// What was rendered before an edit.
pub(super) struct Proof<'a> {
    buildable: &'a Buildable,
    /// The documents that were rendered last.
    values: Vec<Value>,
    /// Documents that are another one each time (random values, times): only whose they are is compared.
    unsteady: Vec<bool>,
    /// The others that are named, each with its violations.
    others: Vec<(&'a Buildable, BTreeSet<String>)>,
    config: &'a RunConfig,
    selected: &'a [PolicyId],
}

impl<'a> Proof<'a> {
    /// Renders everything once more. `values`: what `buildable` was rendered to.
    pub(super) fn begin(
        buildable: &'a Buildable,
        all: &'a [Buildable],
        values: Vec<Value>,
        config: &'a RunConfig,
        selected: &'a [PolicyId],
    ) -> anyhow::Result<Self> {
        let again = buildable.values(&config.limits)?;
        let unsteady = values.iter().enumerate().map(|(at, value)| again.get(at) != Some(value)).collect();
        let others = all.iter().filter(|other| !std::ptr::eq(*other, buildable));
        let others = others.map(|other| Ok((other, violations(other, config, selected)?)));
        let others = others.collect::<anyhow::Result<_>>()?;
        Ok(Self { buildable, values, unsteady, others, config, selected })
    }

    /// Whether exactly the expected documents are rendered otherwise now, and nothing that is named is worse; `Err`: what is.
    pub(super) fn holds(&mut self, edit: &Edit) -> Result<(), String> {
        let name = self.buildable.name();
        let now = self.buildable.values(&self.config.limits);
        let now = now.map_err(|error| format!("it can no longer be rendered: {error:#}"))?;
        let mut expected = self.values.clone();
        for (number, value) in &edit.expected {
            if self.unsteady.get(*number) != Some(&false) {
                return Err(format!("{} is rendered differently each time", subject(value)));
            }
            if let Some(at) = expected.get_mut(*number) {
                at.clone_from(value);
            }
        }
        if now.len() != expected.len() {
            return Err(format!("{name} is rendered to {} documents, not {}", now.len(), expected.len()));
        }
        for ((now, expected), unsteady) in now.iter().zip(&expected).zip(&self.unsteady) {
            let is_same = if *unsteady { subject(now) == subject(expected) } else { now == expected };
            if !is_same {
                return Err(format!("{} of {name} is not rendered as expected", subject(expected)));
            }
        }
        for (other, before) in &self.others {
            let name = other.name();
            let after = violations(other, self.config, self.selected);
            let after = after.map_err(|error| format!("{name} can no longer be rendered: {error:#}"))?;
            if let Some(new) = after.difference(before).next() {
                return Err(format!("{name} would have a new violation: {new}"));
            }
        }
        self.values = now;
        Ok(())
    }
}

/// An object for people.
fn subject(value: &Value) -> String {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or("(unnamed)");
    format!("{} {}", text("/kind"), text("/metadata/name"))
}

/// The violations in what is rendered now.
fn violations(
    buildable: &Buildable,
    config: &RunConfig,
    selected: &[PolicyId],
) -> anyhow::Result<BTreeSet<String>> {
    let inputs = Inputs::of_texts([(buildable.name().to_owned(), buildable.text()?)]);
    let scan = Scan::survey(&inputs, config, selected.to_vec(), Context::Input, Positions::Left)?;
    let mut all = BTreeSet::new();
    scan.files::<_, anyhow::Error>(
        |file| file,
        |file| {
            for object in &file.objects {
                let identity = &object.document.identity;
                all.extend(object.findings.iter().map(|finding| {
                    format!("{} {}/{}: {}", identity.kind, identity.namespace, identity.name, finding.message)
                }));
            }
            Ok(())
        },
    )?;
    Ok(all)
}
