//! JSON Pointer (RFC 6901): the address of a node in a document.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A JSON Pointer in its escaped text form, e.g. `/metadata/labels/app.kubernetes.io~1name`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(String);

/// Why a text is not a JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPointer {
    /// Neither empty nor starting with `/`.
    #[error("pointer {0:?} must be empty or start with '/'")]
    NoSlash(String),
    /// A `~` that is not followed by `0` or `1`.
    #[error("pointer {0:?} has a '~' that is neither '~0' nor '~1'")]
    BadEscape(String),
}

impl Pointer {
    /// The whole document.
    pub const ROOT: Self = Self(String::new());

    /// Parses the escaped form.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidPointer> {
        let text = text.into();
        if !text.is_empty() && !text.starts_with('/') {
            return Err(InvalidPointer::NoSlash(text));
        }
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '~' && !matches!(chars.next(), Some('0' | '1')) {
                return Err(InvalidPointer::BadEscape(text));
            }
        }
        Ok(Self(text))
    }

    /// Builds a pointer from unescaped keys.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        keys.into_iter().fold(Self::ROOT, |pointer, key| pointer.child(key))
    }

    /// This pointer with one more unescaped key.
    #[must_use]
    pub fn child(&self, key: &str) -> Self {
        let mut text = String::with_capacity(self.0.len() + key.len() + 1);
        text.push_str(&self.0);
        text.push('/');
        if key.contains(['~', '/']) {
            text.push_str(&key.replace('~', "~0").replace('/', "~1"));
        } else {
            text.push_str(key);
        }
        Self(text)
    }

    /// This pointer with several more unescaped keys.
    #[must_use]
    pub fn join(&self, keys: &[&str]) -> Self {
        keys.iter().fold(self.clone(), |pointer, key| pointer.child(key))
    }

    /// This pointer with one more list index.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// This pointer with `-`, the place after a list's last entry.
    #[must_use]
    pub fn end(&self) -> Self {
        Self(format!("{}/-", self.0))
    }

    /// The pointer without its last key, and that key unescaped; `None` for the root.
    pub fn split_last(&self) -> Option<(Self, String)> {
        let at = self.0.rfind('/')?;
        Some((Self(self.0[..at].to_owned()), unescaped(&self.0[at + 1..]).into_owned()))
    }

    /// The keys, unescaped.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.0.split('/').skip(1).map(|key| unescaped(key).into_owned())
    }

    /// The node this pointer names in `document`.
    pub fn resolve<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.split('/').skip(1).try_fold(document, |node, key| match node {
            Value::Object(map) => map.get(&*unescaped(key)),
            Value::Array(list) => list.get(index_of(key)?),
            _ => None,
        })
    }

    /// Whether this pointer names `other` or something that holds it.
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.0, &other.0)
    }

    /// Whether this pointer or the one written as `other` covers the other.
    pub fn meets(&self, other: &str) -> bool {
        covers(&self.0, other) || covers(other, &self.0)
    }

    /// The escaped text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Nearly every key is what it looks like: looking a node up takes no memory.
fn unescaped(key: &str) -> Cow<'_, str> {
    if key.contains('~') { key.replace("~1", "/").replace("~0", "~").into() } else { key.into() }
}

/// The index that a key is in a list (RFC 6901 §4): digits without a leading zero.
fn index_of(key: &str) -> Option<usize> {
    let digits = key.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (key == "0" || !key.starts_with('0'))).then(|| key.parse().ok()).flatten()
}

impl TryFrom<String> for Pointer {
    type Error = InvalidPointer;
    fn try_from(text: String) -> Result<Self, InvalidPointer> {
        Self::parse(text)
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> String {
        pointer.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_rfc_6901_refuses() {
        assert!(Pointer::parse("a").is_err());
        assert!(Pointer::parse("/a~").is_err());
        assert!(Pointer::parse("/a~2").is_err());
        assert!(Pointer::parse("").is_ok());
    }

    #[test]
    fn covers_whole_keys_only() {
        let spec = Pointer::of(["spec"]);
        assert!(spec.covers(&Pointer::of(["spec", "a"])));
        assert!(!spec.covers(&Pointer::of(["specs"])));
        assert!(spec.meets("/spec") && spec.meets("/spec/a") && spec.meets("") && !spec.meets("/specs"));
    }

    #[test]
    fn finds_the_node_that_serde_json_finds() {
        let document = serde_json::json!({
            "": {"": 1}, "a/b": [[1, 2], {"~": 3}], "~1": 4, "0": 5, "l": [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        });
        let found = ["", "/", "//", "/a~1b/0/1", "/a~1b/1/~0", "/~01", "/0", "/l/0", "/l/10"];
        let absent = [
            "/x",
            "/l/01",
            "/l/00",
            "/l/+1",
            "/l/-",
            "/l/11",
            "/l/",
            "/l/ 1",
            "/l/99999999999999999999",
            "/0/0",
            "/l/a",
        ];
        for text in found.iter().chain(&absent) {
            let node = Pointer::parse(*text).unwrap().resolve(&document);
            assert_eq!(node, document.pointer(text), "{text}");
            assert_eq!(node.is_some(), found.contains(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn keys_survive_escaping(keys in prop::collection::vec(".{0,8}", 0..5)) {
            let pointer = Pointer::of(keys.iter().map(String::as_str));
            prop_assert_eq!(pointer.keys().collect::<Vec<_>>(), keys);
            prop_assert!(Pointer::parse(pointer.as_str()).is_ok());
        }
    }
}
