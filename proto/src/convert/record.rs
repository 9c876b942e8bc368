//! Records and documents.

use std::sync::Arc;

use domain::ids::{DocumentHash, RecordId};
use domain::outcome::ErrorKind;
use domain::record::{Neighbours, Problem, Record, SourceDocument};
use prost::bytes::Bytes;

use super::{BadMessage, hash_bytes};
use crate::v1;

/// Lets a message share a document's text instead of copying it.
struct SharedText(Arc<str>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<&SourceDocument> for v1::Document {
    fn from(document: &SourceDocument) -> Self {
        let neighbours_json = if document.neighbours == Neighbours::Unknown {
            String::new()
        } else {
            // Strings, lists and maps with string keys always serialize.
            serde_json::to_string(&document.neighbours).unwrap_or_default()
        };
        Self {
            hash: document.hash.as_bytes().to_vec(),
            text: Bytes::from_owner(SharedText(Arc::clone(&document.text))),
            neighbours_json,
        }
    }
}

impl TryFrom<v1::Document> for SourceDocument {
    type Error = BadMessage;

    /// The hash is not verified: code that stores a document for other readers must compare it with
    /// [`SourceDocument::new`].
    fn try_from(document: v1::Document) -> Result<Self, BadMessage> {
        let text =
            std::str::from_utf8(&document.text).map_err(|error| BadMessage::new("document.text", error))?;
        let neighbours = if document.neighbours_json.is_empty() {
            Neighbours::Unknown
        } else {
            serde_json::from_str(&document.neighbours_json)
                .map_err(|error| BadMessage::new("document.neighbours_json", error))?
        };
        let hash = DocumentHash::from_bytes(hash_bytes("document.hash", &document.hash)?);
        Ok(Self { hash, text: Arc::from(text), neighbours })
    }
}

impl From<Record> for v1::Record {
    fn from(record: Record) -> Self {
        Self {
            id: record.id.into(),
            position: record.position,
            manifest_path: record.manifest_path,
            document: record.document.as_bytes().to_vec(),
            raw_policy_id: record.raw_policy_id,
            violation_text: record.violation_text,
            problem: record.problem.map(|problem| v1::Problem {
                kind: problem.kind.as_str().to_owned(),
                message: problem.message,
            }),
        }
    }
}

impl TryFrom<v1::Record> for Record {
    type Error = BadMessage;

    fn try_from(record: v1::Record) -> Result<Self, BadMessage> {
        let problem = record
            .problem
            .map(|problem| {
                let kind = ErrorKind::parse(&problem.kind).ok_or_else(|| {
                    BadMessage::new("record.problem.kind", format!("{:?} is not known", problem.kind))
                })?;
                Ok(Problem { kind, message: problem.message })
            })
            .transpose()?;
        Ok(Self {
            id: RecordId::new(record.id).map_err(|error| BadMessage::new("record.id", error))?,
            position: record.position,
            manifest_path: record.manifest_path,
            document: DocumentHash::from_bytes(hash_bytes("record.document", &record.document)?),
            raw_policy_id: record.raw_policy_id,
            violation_text: record.violation_text,
            problem,
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbour;

    use super::*;

    #[test]
    fn records_and_documents_round_trip() {
        let neighbours = Neighbours::Known(vec![Neighbour::ServiceAccount {
            namespace: String::new(),
            name: "builder".to_owned(),
        }]);
        let document = SourceDocument::new("kind: Pod # ü", neighbours);
        assert_eq!(SourceDocument::try_from(v1::Document::from(&document)).unwrap(), document);

        let (mut record, _) = domain::testing::record(4, "latest-tag", "kind: Pod");
        record.problem = Some(Problem { kind: ErrorKind::LimitExceeded, message: "too deep".to_owned() });
        assert_eq!(Record::try_from(v1::Record::from(record.clone())).unwrap(), record);
    }

    #[test]
    fn invalid_values_are_refused_with_their_field() {
        let (record, document) = domain::testing::record(0, "latest-tag", "kind: Pod");
        let mut wire = v1::Record::from(record);
        wire.document.pop();
        assert_eq!(Record::try_from(wire.clone()).unwrap_err().field, "record.document");
        wire.id = "a\nb".to_owned();
        assert_eq!(Record::try_from(wire).unwrap_err().field, "record.id");
        let mut wire = v1::Document::from(&document);
        wire.text = Bytes::from_static(b"\xff");
        assert_eq!(SourceDocument::try_from(wire).unwrap_err().field, "document.text");
    }
}
