//! API servers, and their verdicts.

use domain::ids::{DocumentHash, WorkerName};
use domain::schema_depth::SchemaDepth;
use domain::server_verdict::{ServerIdentity, ServerVerdict};

use super::{BadMessage, LeaseKey, hash_bytes, required, secret};
use crate::secret::SharedSecret;
use crate::v1;

/// Most verdicts of a message.
pub const VERDICTS: usize = 256;

/// Most bytes of a verdict.
const VERDICT_BYTES: usize = 256 << 10;

/// Characters of the text of what a run waits for.
const TEXT_CHARS: usize = 500;

/// A worker that holds a lease.
#[derive(Debug, Clone)]
pub struct LeaseHolder {
    /// The lease.
    pub key: LeaseKey,
    /// The worker.
    pub worker: WorkerName,
    /// Proves the worker.
    pub session: SharedSecret,
}

impl TryFrom<Option<v1::LeaseHolder>> for LeaseHolder {
    type Error = BadMessage;

    fn try_from(holder: Option<v1::LeaseHolder>) -> Result<Self, BadMessage> {
        let holder = required("holder", holder)?;
        Ok(Self {
            key: required("holder.key", holder.key)?.try_into()?,
            worker: WorkerName::new(holder.worker)
                .map_err(|error| BadMessage::new("holder.worker", error))?,
            session: secret("holder.session", &holder.session)?,
        })
    }
}

impl From<&ServerIdentity> for v1::ApiServer {
    fn from(server: &ServerIdentity) -> Self {
        Self { version: server.version().to_owned(), flags: server.flags().to_owned() }
    }
}

impl TryFrom<v1::ApiServer> for ServerIdentity {
    type Error = BadMessage;

    fn try_from(server: v1::ApiServer) -> Result<Self, BadMessage> {
        Self::new(server.version, server.flags).map_err(|error| BadMessage::new("api_server", error))
    }
}

/// Encodes the verdict about a text.
pub fn verdict_to_wire(text: &DocumentHash, verdict: &ServerVerdict) -> v1::Verdict {
    // Does not fail: a verdict has only texts and numbers.
    let verdict_json = serde_json::to_string(verdict).unwrap_or_default();
    v1::Verdict { document: text.as_bytes().to_vec(), verdict_json }
}

/// Reads the verdict about a text.
///
/// # Errors
/// The hash has another length, or the verdict is too long or not valid.
pub fn verdict_from_wire(verdict: &v1::Verdict) -> Result<(DocumentHash, ServerVerdict), BadMessage> {
    let hash = hash_bytes("verdict.document", &verdict.document)?;
    if verdict.verdict_json.len() > VERDICT_BYTES {
        let reason = format!("has {} bytes, {VERDICT_BYTES} are allowed", verdict.verdict_json.len());
        return Err(BadMessage::new("verdict.verdict_json", reason));
    }
    let read = serde_json::from_str(&verdict.verdict_json);
    let read = read.map_err(|error| BadMessage::new("verdict.verdict_json", error))?;
    Ok((DocumentHash::from_bytes(hash), read))
}

/// What judges the schema of a run's documents, as shown to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeStatus {
    /// `Server` or `Both`.
    pub depth: SchemaDepth,
    /// The server; `None` until a shard was leased.
    pub server: Option<ServerIdentity>,
    /// Why no shard can be leased, or what the records wait for; `None` when they do not wait.
    pub waits_for: Option<String>,
}

impl From<JudgeStatus> for v1::JudgeStatus {
    fn from(status: JudgeStatus) -> Self {
        let text = |part: fn(&ServerIdentity) -> &str| status.server.as_ref().map_or("", part).to_owned();
        Self {
            depth: status.depth.as_str().to_owned(),
            version: text(ServerIdentity::version),
            flags: text(ServerIdentity::flags),
            waits_for: status.waits_for.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::JudgeStatus> for JudgeStatus {
    type Error = BadMessage;

    fn try_from(status: v1::JudgeStatus) -> Result<Self, BadMessage> {
        let v1::JudgeStatus { depth, version, flags, waits_for } = status;
        let server = if version.is_empty() {
            None
        } else {
            Some(
                ServerIdentity::new(version, flags)
                    .map_err(|error| BadMessage::new("judge.version", error))?,
            )
        };
        Ok(Self {
            depth: SchemaDepth::parse(&depth)
                .ok_or_else(|| BadMessage::new("judge.depth", format!("{depth:?} is not known")))?,
            server,
            waits_for: (!waits_for.is_empty()).then(|| waits_for.chars().take(TEXT_CHARS).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::server_verdict::{ServerCause, ServerClass};

    use super::*;

    #[test]
    fn a_verdict_round_trips_and_a_hostile_one_is_refused() {
        let verdict = ServerVerdict {
            class: ServerClass::Invalid,
            code: 422,
            causes: vec![ServerCause {
                field: "spec".to_owned(),
                reason: "FieldValueInvalid".to_owned(),
                message: "Invalid value".to_owned(),
            }],
            message: None,
            warnings: vec!["deprecated".to_owned()],
        };
        let text = DocumentHash::of(b"kind: Pod");
        let wire = verdict_to_wire(&text, &verdict);
        assert_eq!(verdict_from_wire(&wire).unwrap(), (text, verdict));
        let short = v1::Verdict { document: vec![1; 31], ..wire.clone() };
        assert_eq!(verdict_from_wire(&short).unwrap_err().field, "verdict.document");
        for json in ["{}".to_owned(), "[".repeat(100_000), " ".repeat(VERDICT_BYTES + 1)] {
            let bad = v1::Verdict { verdict_json: json, ..wire.clone() };
            assert_eq!(verdict_from_wire(&bad).unwrap_err().field, "verdict.verdict_json");
        }
    }

    #[test]
    fn a_status_round_trips() {
        let server = ServerIdentity::new("v1.37.2", "a=b").unwrap();
        for (server, waits_for) in [(Some(server), None), (None, Some("no worker".to_owned()))] {
            let status = JudgeStatus { depth: SchemaDepth::Both, server, waits_for };
            assert_eq!(JudgeStatus::try_from(v1::JudgeStatus::from(status.clone())).unwrap(), status);
        }
        let bad = v1::ApiServer { version: "v 1".to_owned(), flags: String::new() };
        assert!(ServerIdentity::try_from(bad).is_err());
    }
}
