//! What a right repair of a policy may touch: an allow list of places and values, which is data beside each policy.
//!
//! A place is a JSON Pointer, where `*` is any one key or index and `**` any number of them, below an anchor:
//! `{container}` is a container that violates the policy, `{pod}` the spec of a pod that holds one (any pod for policies
//! that are not about containers), `{template}` the metadata of such a pod, `{controller}` the spec of what makes the
//! pods, and nothing is the document.

use std::fmt;

use domain::config::RulesConfig;
use serde_json::{Map, Value};

use crate::difference::{Change, Step};
use crate::k8s::{Container, Pod, View};

/// What a repair of a policy may change, and what it may bring.
#[derive(Debug)]
pub struct Scope {
    /// Whether a container violates the policy as the rules are set, so that a repair may change it.
    pub containers: fn(&View<'_>, &Container<'_>, &RulesConfig) -> bool,
    /// The places and their values.
    pub may: &'static [May],
    /// The objects that may stand beside the document; `None`: none may.
    pub companion: Option<Companion>,
}

/// A place that a repair may change, and what it may come to.
#[derive(Debug)]
pub struct May {
    /// The place.
    pub at: &'static str,
    /// What may stand there afterwards: one of these.
    pub to: &'static [To],
}

/// What a place may come to.
#[derive(Debug, Clone, Copy)]
pub enum To {
    /// It goes.
    Gone,
    /// `false`.
    False,
    /// `true`.
    True,
    /// A whole number above 0.
    AboveZero,
    /// One of these texts.
    Text(&'static [&'static str]),
    /// What a function accepts; the words say what that is.
    If(&'static str, fn(&Site<'_, '_>) -> bool),
}

/// Objects that a repair may bring.
#[derive(Debug, Clone, Copy)]
pub struct Companion {
    /// What they are, for people.
    pub words: &'static str,
    /// Whether an object is one of them, for the document before and after the patch.
    pub is_needed: fn(&View<'_>, &View<'_>, &Value) -> bool,
}

/// A place that may change.
pub(super) const fn may(at: &'static str, to: &'static [To]) -> May {
    May { at, to }
}

/// For policies that are not about single containers.
pub(super) fn any_container(_: &View<'_>, _: &Container<'_>, _: &RulesConfig) -> bool {
    true
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("removed"),
            Self::False => f.write_str("`false`"),
            Self::True => f.write_str("`true`"),
            Self::AboveZero => f.write_str("a number above 0"),
            Self::Text(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
                f.write_str(&texts.join(", "))
            }
            Self::If(words, _) => f.write_str(words),
        }
    }
}

impl To {
    /// Whether the change at `site` comes to this.
    pub fn accepts(self, site: &Site<'_, '_>) -> bool {
        let is = site.change.is;
        match self {
            Self::Gone => is.is_none(),
            Self::False => is == Some(&Value::Bool(false)),
            Self::True => is == Some(&Value::Bool(true)),
            Self::AboveZero => is.and_then(Value::as_i64).is_some_and(|number| number > 0),
            Self::Text(texts) => is.and_then(Value::as_str).is_some_and(|text| texts.contains(&text)),
            Self::If(_, accepts) => accepts(site),
        }
    }
}

/// How many steps of a path lead to each anchor that it passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Anchors {
    /// The container.
    pub container: Option<usize>,
    /// The pod's spec.
    pub pod: Option<usize>,
    /// The pod's metadata.
    pub template: Option<usize>,
    /// The spec of what makes the pod.
    pub controller: Option<usize>,
}

/// A change, and where in the two documents it stands.
#[derive(Debug)]
pub struct Site<'s, 'a> {
    /// The document before.
    pub before: &'s View<'a>,
    /// The document after.
    pub after: &'s View<'a>,
    /// The settings of the rules.
    pub rules: &'s RulesConfig,
    /// The change.
    pub change: &'s Change<'a>,
    /// The anchors that its path passes.
    pub anchors: Anchors,
    /// The pod that it is in, before and after.
    pub pods: Option<[&'s Pod<'a>; 2]>,
    /// The container that it is in, before and after.
    pub containers: Option<[&'s Container<'a>; 2]>,
}

/// How a place and a pattern compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Neither the place nor anything below it fits.
    No,
    /// Something below the place may fit.
    Below,
    /// The place fits.
    Yes,
}

impl<'a> Site<'_, 'a> {
    /// How the place of the change compares with a pattern.
    pub fn fit(&self, pattern: &str) -> Fit {
        let (anchor, keys) = pattern.split_once('/').unwrap_or((pattern, ""));
        let depth = match anchor {
            "{container}" => self.anchors.container,
            "{pod}" => self.anchors.pod,
            "{template}" => self.anchors.template,
            "{controller}" => self.anchors.controller,
            _ => Some(0),
        };
        depth.and_then(|depth| self.change.path.get(depth..)).map_or(Fit::No, |path| fit(keys, path))
    }

    /// The text after the patch.
    pub fn text(&self) -> Option<&'a str> {
        self.change.is.and_then(Value::as_str)
    }

    /// The innermost list entry that holds the place, as it was.
    pub fn entry_before(&self) -> Option<&'a Map<String, Value>> {
        self.change.entry.was.and_then(Value::as_object)
    }

    /// The innermost list entry that holds the place, as it is.
    pub fn entry_after(&self) -> Option<&'a Map<String, Value>> {
        self.change.entry.is.and_then(Value::as_object)
    }

    /// Whether the list entry `below` steps below the pod's spec is new as a whole.
    pub fn is_new_entry(&self, below: usize) -> bool {
        self.change.was.is_none() && self.anchors.pod.is_some_and(|pod| self.change.whole <= pod + below)
    }

    /// The key `at` steps below the container.
    pub fn container_key(&self, at: usize) -> Option<&'a str> {
        self.change.path.get(self.anchors.container? + at)?.key()
    }

    /// The last key.
    pub fn key(&self) -> Option<&'a str> {
        self.change.path.last()?.key()
    }
}

/// Compares the keys of a pattern with a path.
fn fit(keys: &str, path: &[Step<'_>]) -> Fit {
    let mut path = path.iter();
    for key in keys.split('/') {
        match (key, path.next()) {
            ("**", _) => return Fit::Yes,
            (_, None) => return Fit::Below,
            ("*", Some(_)) => {}
            (key, Some(step)) if step.key() == Some(key) => {}
            (_, Some(_)) => return Fit::No,
        }
    }
    if path.next().is_none() { Fit::Yes } else { Fit::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_places() {
        let path = [Step::Key("env"), Step::Index(3), Step::Key("value")];
        for (keys, expected) in [
            ("env/*/value", Fit::Yes),
            ("env/**", Fit::Yes),
            ("env/*/*", Fit::Yes),
            ("env/*/value/**", Fit::Yes),
            ("env/*/value/x", Fit::Below),
            ("env/*", Fit::No),
            ("env/*/name", Fit::No),
            ("ports/**", Fit::No),
        ] {
            assert_eq!(fit(keys, &path), expected, "{keys}");
        }
        assert_eq!(fit("env/*/value", &path[..1]), Fit::Below);
    }
}
