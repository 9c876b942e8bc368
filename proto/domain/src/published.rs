//! Serde shapes of the published JSON files.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An entry of `detections.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The record's id.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// Where the manifest lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_path: Option<String>,
    /// The document that the violation points at.
    #[serde(default)]
    pub manifest_yaml: Option<String>,
    /// The scanner's id.
    pub policy_id: String,
    /// The scanner's sentence; null counts as an empty one.
    #[serde(default, deserialize_with = "text_or_null")]
    pub violation_text: String,
}

/// An entry of `patches.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// The record's id.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// The canonical policy.
    #[serde(default)]
    pub policy_id: Option<String>,
    /// The proposer's mode.
    #[serde(default)]
    pub source: Option<String>,
    /// Whether guard operations were merged in.
    #[serde(default)]
    pub hardened: Option<bool>,
    /// RFC 6902 operations, as found. An object with a repeated name is refused: it is ambiguous.
    #[serde(deserialize_with = "crate::strict_json::deserialize")]
    pub patch: Value,
    /// Everything else: `latency_ms`, `total_latency_ms`, `model_usage`, `attempt_errors`, unknown keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An entry of `verified.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// The record's id.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// The canonical policy; the oldest files lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// Whether every gate accepted.
    #[serde(default)]
    pub accepted: bool,
    /// Schema gate; absent counts as passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok_schema: Option<bool>,
    /// Policy gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok_policy: Option<bool>,
    /// Safety gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok_safety: Option<bool>,
    /// Rescan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok_rescan: Option<bool>,
    /// The patched document.
    #[serde(default)]
    pub patched_yaml: Option<String>,
    /// Everything else: `latency_ms`, `kubectl_ms`, `errors`, unknown keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Up to here every whole number has a floating-point number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// An id as text. Scanners number their findings, and tables write whole numbers as `1.0` where one of them is missing.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Id;
    impl Visitor<'_> for Id {
        type Value = String;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a text or a whole number")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
            Ok(text)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
            if number.fract() == 0.0 && number.abs() <= EXACT {
                Ok(format!("{number:.0}"))
            } else {
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }
        }
    }
    deserializer.deserialize_any(Id)
}

fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
