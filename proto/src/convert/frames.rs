//! Splits a slice of the corpus into messages of bounded size, and reassembles it.

use std::collections::BTreeMap;

use domain::ids::DocumentHash;
use domain::record::{Record, Slice, SourceDocument};

use super::BadMessage;
use crate::v1;

/// Target size of a message with a piece of a slice; a larger document is sent in a message of its own.
pub const FRAME_BYTES: usize = 1 << 20;

/// Splits a slice into pieces of about [`FRAME_BYTES`], each with the documents that its records refer to.
///
/// An empty slice yields one empty piece.
pub fn frames(slice: Slice) -> Vec<v1::Slice> {
    let documents: BTreeMap<DocumentHash, SourceDocument> =
        slice.documents.into_iter().map(|document| (document.hash, document)).collect();
    let mut pieces = Vec::new();
    let mut piece = v1::Slice::default();
    let mut inside: std::collections::BTreeSet<DocumentHash> = std::collections::BTreeSet::new();
    let mut bytes = 0;
    for record in slice.records {
        let document = documents.get(&record.document).filter(|_| !inside.contains(&record.document));
        let size = record_bytes(&record) + document.map_or(0, document_bytes);
        if bytes > 0 && bytes + size > FRAME_BYTES {
            pieces.push(std::mem::take(&mut piece));
            inside.clear();
            bytes = 0;
        }
        if let Some(document) = documents.get(&record.document)
            && inside.insert(record.document)
        {
            bytes += document_bytes(document);
            piece.documents.push(document.into());
        }
        bytes += record_bytes(&record);
        piece.records.push(record.into());
    }
    pieces.push(piece);
    pieces
}

fn record_bytes(record: &Record) -> usize {
    64 + record.id.as_str().len()
        + record.manifest_path.len()
        + record.raw_policy_id.len()
        + record.violation_text.len()
        + record.problem.as_ref().map_or(0, |problem| problem.message.len())
}

fn document_bytes(document: &SourceDocument) -> usize {
    // An estimate is sufficient: neighbours are a few labels each, and the target size is not a hard limit.
    64 + document.text.len() + 128 * document.neighbours.objects().len()
}

/// Reassembles a slice from its pieces.
#[derive(Debug, Default)]
pub struct Assembly {
    records: Vec<Record>,
    documents: BTreeMap<DocumentHash, SourceDocument>,
}

impl Assembly {
    /// Appends the next piece.
    pub fn push(&mut self, piece: v1::Slice) -> Result<(), BadMessage> {
        for document in piece.documents {
            let document = SourceDocument::try_from(document)?;
            self.documents.entry(document.hash).or_insert(document);
        }
        for record in piece.records {
            let record = Record::try_from(record)?;
            if !self.documents.contains_key(&record.document) {
                return Err(BadMessage::new("record.document", "names a document that was not sent"));
            }
            self.records.push(record);
        }
        Ok(())
    }

    /// Number of records received.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record was received.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The slice, its documents in the order of their hashes.
    pub fn finish(self) -> Slice {
        Slice { records: self.records, documents: self.documents.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(texts: &[&str]) -> Slice {
        let mut slice = Slice::default();
        for (position, text) in texts.iter().enumerate() {
            let (record, document) = domain::testing::record(position as u64, "latest-tag", text);
            slice.records.push(record);
            if !slice.documents.contains(&document) {
                slice.documents.push(document);
            }
        }
        slice.documents.sort_by_key(|document| document.hash);
        slice
    }

    #[test]
    fn a_slice_round_trips_through_its_pieces() {
        let long = "x".repeat(FRAME_BYTES / 2);
        let huge = "y".repeat(FRAME_BYTES * 2);
        let whole = slice(&["a", "a", &long, &huge, "b", &long, "a"]);
        let pieces = frames(whole.clone());
        assert_eq!(pieces.len(), 3);
        let mut assembly = Assembly::default();
        for piece in pieces {
            // Each piece is complete in itself.
            Assembly::default().push(piece.clone()).unwrap();
            assembly.push(piece).unwrap();
        }
        assert_eq!(assembly.len(), 7);
        assert_eq!(assembly.finish(), whole);
    }

    #[test]
    fn a_document_is_sent_once_per_piece() {
        let pieces = frames(slice(&["a", "b", "a", "b", "a"]));
        assert_eq!((pieces.len(), pieces[0].documents.len(), pieces[0].records.len()), (1, 2, 5));
        assert_eq!(frames(Slice::default()).len(), 1);
    }

    #[test]
    fn a_record_without_its_document_is_refused() {
        let mut pieces = frames(slice(&["a"]));
        pieces[0].documents.clear();
        assert!(Assembly::default().push(pieces.remove(0)).is_err());
    }
}
