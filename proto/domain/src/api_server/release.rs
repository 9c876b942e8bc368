//! The releases of Kubernetes whose API server the embedded schema gate knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A minor release of Kubernetes, 1.30 to 1.37.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesRelease(u8);

impl KubernetesRelease {
    /// The oldest that is known.
    pub const OLDEST: Self = Self(30);

    /// The newest that is known.
    pub const NEWEST: Self = Self(37);

    /// Every release that is known, the oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::OLDEST.0..=Self::NEWEST.0).map(Self)
    }

    /// The number behind `1.`.
    pub const fn minor(self) -> u8 {
        self.0
    }

    /// Whether it is the default: a configuration at rest and on the wire leaves it out then, so that it reads, and
    /// hashes, as those of versions of this program that knew no other.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(crate) const fn is_newest(&self) -> bool {
        self.0 == Self::NEWEST.0
    }
}

impl Default for KubernetesRelease {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for KubernetesRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// A text that names no release that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known release of Kubernetes: {oldest} to {newest}", oldest = KubernetesRelease::OLDEST, newest = KubernetesRelease::NEWEST)]
pub struct UnknownRelease(String);

impl FromStr for KubernetesRelease {
    type Err = UnknownRelease;

    fn from_str(text: &str) -> Result<Self, UnknownRelease> {
        Self::all().find(|release| release.to_string() == text).ok_or_else(|| UnknownRelease(text.to_owned()))
    }
}

impl Serialize for KubernetesRelease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KubernetesRelease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = KubernetesRelease;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a release from {} to {}", KubernetesRelease::OLDEST, KubernetesRelease::NEWEST)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<KubernetesRelease, E> {
                text.parse().map_err(E::custom)
            }
            /// Without quotes it is a number in YAML: 1.30 is 1.3 there, and there is no other release of that number.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<KubernetesRelease, E> {
                format!("{number:.2}").parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_text_or_a_number() {
        let read = |json: &str| serde_json::from_str::<KubernetesRelease>(json);
        assert_eq!(read("\"1.30\"").unwrap(), KubernetesRelease::OLDEST);
        assert_eq!(read("1.3").unwrap(), KubernetesRelease::OLDEST);
        assert_eq!(read("1.37").unwrap(), KubernetesRelease::NEWEST);
        assert_eq!(serde_json::to_string(&KubernetesRelease::OLDEST).unwrap(), "\"1.30\"");
        for wrong in ["\"1.29\"", "1.38", "\"1.37.2\"", "\"v1.37\"", "37", "1e300", "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let error = "1.4".parse::<KubernetesRelease>().unwrap_err();
        assert_eq!(error.to_string(), "\"1.4\" is not a known release of Kubernetes: 1.30 to 1.37");
    }

    #[test]
    fn all_are_listed_once() {
        let all: Vec<u8> = KubernetesRelease::all().map(KubernetesRelease::minor).collect();
        assert_eq!(all, [30, 31, 32, 33, 34, 35, 36, 37]);
    }
}
