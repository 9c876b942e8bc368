//! API servers, and their verdicts.

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::{DocumentHash, WorkerName};

use super::{BadMessage, LeaseKey, hash_bytes, required, secret};
use crate::secret::SharedSecret;
use crate::v1;

/// Most verdicts of a message.
pub const VERDICTS: usize = 256;

/// Most bytes of a verdict.
const VERDICT_BYTES: usize = 256 << 10;

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

#[cfg(test)]
mod tests {
    use domain::api_server::{ServerCause, ServerClass};

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
    fn an_identity_that_is_not_printable_is_refused() {
        let bad = v1::ApiServer { version: "v 1".to_owned(), flags: String::new() };
        assert!(ServerIdentity::try_from(bad).is_err());
    }
}
