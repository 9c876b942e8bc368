//! Identifiers as types: one macro for the textual ones, one for the numeric ones, one for hashes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not a legal identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not legal: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and takes it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    let text = text.chars().take(80).collect();
                    Err(InvalidId { kind: $kind, text, rule: $rule })
                }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// BLAKE3 of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }

            /// Takes 32 bytes that already are a hash.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                blake3::Hash::from_hex(&text).map(|hash| Self(*hash.as_bytes())).map_err(|_| InvalidId {
                    kind: "hash",
                    text: text.chars().take(80).collect(),
                    rule: "64 hexadecimal digits",
                })
            }
        }

        impl From<$name> for String {
            fn from(hash: $name) -> String {
                hash.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

fn is_slug(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

text_id!(
    /// Names one run; safe as a folder name and as part of an object-store key.
    RunId,
    "run id",
    "1 to 64 of letters, digits, '.', '_' and '-', beginning with a letter or a digit",
    is_slug
);
text_id!(
    /// Names one record inside its corpus; means nothing outside it.
    RecordId,
    "record id",
    "1 to 256 bytes without control characters",
    |text| (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
);
text_id!(
    /// Names one worker process.
    WorkerName,
    "worker name",
    "1 to 64 of letters, digits, '.', '_' and '-', beginning with a letter or a digit",
    is_slug
);

number_id!(
    /// Names a shard of a run: the position of its first record in the corpus, from 0.
    ShardIndex(u32)
);
number_id!(
    /// Grows each time a shard is leased or halved; a commit with an older token is refused.
    FencingToken(u64)
);

hash_id!(
    /// Hash of a document's text and of the neighbours it is judged with.
    DocumentHash
);
hash_id!(
    /// Hash of a corpus: content and order.
    CorpusHash
);
hash_id!(
    /// Hash of a resolved configuration.
    ConfigHash
);
hash_id!(
    /// Hash of everything that decides a model's answer.
    AnswerKey
);
hash_id!(
    /// Hash of the bytes of a part.
    PartHash
);
hash_id!(
    /// Hash of the bytes of the `run.json` of a finished run.
    RunFileHash
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_safe_as_folder_names() {
        for bad in ["", "..", "a/b", "-x", "a b", &"x".repeat(65)] {
            assert!(RunId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(RunId::new("rules-2026.1").unwrap().as_str(), "rules-2026.1");
    }

    #[test]
    fn hashes_survive_text() {
        let hash = DocumentHash::of(b"x");
        assert_eq!(DocumentHash::try_from(hash.to_string()).unwrap(), hash);
        assert!(DocumentHash::try_from("zz".to_owned()).is_err());
    }
}
