//! Serde shapes of the published JSON files. No logic.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An entry of `detections.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The record's id.
    pub id: String,
    /// Where the manifest lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_path: Option<String>,
    /// The document that the violation points at.
    #[serde(default)]
    pub manifest_yaml: Option<String>,
    /// The scanner's id.
    pub policy_id: String,
    /// The scanner's sentence.
    #[serde(default)]
    pub violation_text: String,
}

/// An entry of `patches.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// The record's id.
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
