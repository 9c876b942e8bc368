//! Records from published detections.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use domain::config::{Documents, Limits, RunConfig};
use domain::ids::{InvalidId, RecordId};
use domain::outcome::ErrorKind;
use domain::published::Detection;
use domain::record::{Neighbours, Problem, Record, SourceDocument};
use engine::yaml;
use results::input::json::{Entry, Malformed};

use crate::read::{NAME_BYTES, shortened};
use crate::resolve::Resolver;

/// Turns entries into records, one after the other.
#[derive(Debug)]
pub(crate) struct Published {
    documents: Documents,
    limits: Limits,
    resolver: Option<Resolver>,
    /// Many records share the document of the record before them.
    last: Option<SourceDocument>,
    /// Hashes of the ids so far.
    ids: HashSet<u64>,
}

impl Published {
    /// `resolver`: where documents are read again; needed for `documents: manifest`.
    pub(crate) fn new(config: &RunConfig, resolver: Option<Resolver>) -> Self {
        Self { documents: config.documents, limits: config.limits, resolver, last: None, ids: HashSet::new() }
    }

    /// The record of an entry, and its document (empty when there is none).
    pub(crate) fn record(
        &mut self,
        entry: Entry,
        position: u64,
    ) -> Result<(Record, SourceDocument), InvalidId> {
        let number = entry.index + 1;
        match entry.content {
            Ok(mut detection) => {
                let (id, unusable) = self.identify(&detection.id, number)?;
                let cut = detection.manifest_path.as_mut().and_then(|path| cut(path, number));
                Ok(self.of_detection(detection, id, position, unusable.or(cut)))
            }
            Err(mut malformed) => {
                if let Some(path) = &mut malformed.manifest_path {
                    cut(path, number);
                }
                let (id, _) = self.identify(malformed.id.as_deref().unwrap_or_default(), number)?;
                Ok(of_malformed(malformed, id, position))
            }
        }
    }

    fn of_detection(
        &mut self,
        detection: Detection,
        id: RecordId,
        position: u64,
        unusable: Option<Problem>,
    ) -> (Record, SourceDocument) {
        let manifest_path = detection.manifest_path.unwrap_or_default();
        let (document, problem) = match self.document(&manifest_path, detection.manifest_yaml) {
            Ok(document) => (document, None),
            Err(problem) => (nothing(), Some(problem)),
        };
        let record = Record {
            id,
            position,
            manifest_path,
            document: document.hash,
            raw_policy_id: detection.policy_id,
            violation_text: detection.violation_text,
            problem: unusable.or(problem),
        };
        (record, document)
    }

    fn document(&mut self, path: &str, copy: Option<String>) -> Result<SourceDocument, Problem> {
        match (self.documents, copy, &mut self.resolver) {
            (Documents::Record, Some(copy), _) => self.own(copy),
            (_, copy, Some(resolver)) => resolver.resolve(path, copy.as_deref()),
            (_, _, None) => Err(Problem {
                kind: ErrorKind::MissingDocument,
                message: "the record holds no document; name the manifests it was found in".to_owned(),
            }),
        }
    }

    /// The record's own copy.
    fn own(&mut self, copy: String) -> Result<SourceDocument, Problem> {
        if let Some(last) = &self.last
            && *last.text == *copy
        {
            return Ok(last.clone());
        }
        if copy.len() > self.limits.document_bytes {
            let (bytes, limit) = (copy.len(), self.limits.document_bytes);
            let message = format!(
                "the document has {bytes} bytes, more than limits.document_bytes = {limit}; raise the limit or leave the record out"
            );
            return Err(Problem { kind: ErrorKind::LimitExceeded, message });
        }
        let documents = documents_in(&copy);
        if documents > 1 {
            let message = format!("the record holds {documents} documents; give each a record of its own");
            return Err(Problem { kind: ErrorKind::MalformedRecord, message });
        }
        let document = SourceDocument::new(copy, Neighbours::Unknown);
        self.last = Some(document.clone());
        Ok(document)
    }

    /// The id to use; beside an id made up for one that cannot be used, what is wrong with that one.
    fn identify(&mut self, raw: &str, number: u64) -> Result<(RecordId, Option<Problem>), InvalidId> {
        let what = match RecordId::new(raw) {
            Err(error) => error.to_string(),
            Ok(id) => {
                let mut hasher = DefaultHasher::new();
                raw.hash(&mut hasher);
                if self.ids.insert(hasher.finish()) {
                    return Ok((id, None));
                }
                format!("id {raw:?} is taken by an entry before it")
            }
        };
        let message = format!("entry {number}: {what}; give it another id");
        let problem = Problem { kind: ErrorKind::MalformedRecord, message };
        Ok((RecordId::new(format!("entry-{number}"))?, Some(problem)))
    }
}

/// How many documents the text holds; most texts need no splitting to know that it is one.
fn documents_in(text: &str) -> usize {
    let may_be_several =
        text.contains("\n---") || text.contains("\n...") || text.trim_start().starts_with('{');
    if may_be_several { yaml::split(text).len() } else { 1 }
}

/// Cuts a path that is longer than any of an operating system, and gives the problem that this is.
fn cut(path: &mut String, number: u64) -> Option<Problem> {
    let bytes = path.len();
    if bytes <= NAME_BYTES {
        return None;
    }
    *path = shortened(path, number);
    let message = format!(
        "entry {number}: its manifest_path has {bytes} bytes, and {NAME_BYTES} are the most; shorten it"
    );
    Some(Problem { kind: ErrorKind::LimitExceeded, message })
}

fn of_malformed(malformed: Malformed, id: RecordId, position: u64) -> (Record, SourceDocument) {
    let document = nothing();
    let record = Record {
        id,
        position,
        manifest_path: malformed.manifest_path.unwrap_or_default(),
        document: document.hash,
        raw_policy_id: malformed.policy_id.unwrap_or_default(),
        violation_text: String::new(),
        problem: Some(Problem { kind: ErrorKind::MalformedRecord, message: malformed.message }),
    };
    (record, document)
}

fn nothing() -> SourceDocument {
    SourceDocument::new("", Neighbours::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, id: &str, yaml: Option<&str>) -> Entry {
        let detection = Detection {
            id: id.to_owned(),
            manifest_path: Some("a.yaml".to_owned()),
            manifest_yaml: yaml.map(str::to_owned),
            policy_id: "latest-tag".to_owned(),
            violation_text: String::new(),
        };
        Entry { index, content: Ok(detection) }
    }

    #[test]
    fn a_path_without_bound_is_a_problem_of_its_record() {
        let mut published = Published::new(&RunConfig::default(), None);
        let mut path = |bytes: usize| {
            let path = Some("a".repeat(bytes));
            let Ok(detection) = entry(6, "7", Some("kind: Pod")).content else { unreachable!() };
            let content = Ok(Detection { manifest_path: path, id: bytes.to_string(), ..detection });
            let (record, document) = published.record(Entry { index: 6, content }, 0).unwrap();
            let kind = record.problem.as_ref().map(|problem| problem.kind);
            assert_eq!(&*document.text, "kind: Pod");
            (record.manifest_path.len(), kind, record.problem)
        };
        assert_eq!(path(NAME_BYTES).0, NAME_BYTES);
        let (bytes, kind, problem) = path(1 << 20);
        assert!(bytes < 200, "{bytes}");
        assert_eq!(kind, Some(ErrorKind::LimitExceeded));
        assert!(problem.unwrap().message.starts_with("entry 7: its manifest_path has 1048576 bytes"));
        let malformed = Malformed {
            id: Some("8".into()),
            policy_id: None,
            manifest_path: Some("b".repeat(1 << 20)),
            message: "entry 8: no policy".into(),
        };
        let (record, _) = published.record(Entry { index: 7, content: Err(malformed) }, 0).unwrap();
        assert!(record.manifest_path.len() < 200);
    }

    #[test]
    fn a_record_has_one_document() {
        let mut published = Published::new(&RunConfig::default(), None);
        for (index, (text, documents)) in [
            ("kind: Pod", 1),
            ("---\nkind: Pod\n...\n", 1),
            ("# head\n---\nkind: Pod\n---\n\n---\n# end\n", 1),
            ("kind: ConfigMap\ndata:\n  a: |\n    x\n    ---\n    y\n", 1),
            ("{\"kind\": \"Pod\"}\n", 1),
            ("kind: Pod\n---\nkind: Service\n", 2),
            ("--- {kind: Pod}\n---\nkind: Service\n---\nkind: Job\n", 3),
            ("{\"kind\": \"Pod\"}\n{\"kind\": \"Job\"}", 2),
        ]
        .into_iter()
        .enumerate()
        {
            let (record, _) = published.record(entry(0, &index.to_string(), Some(text)), 0).unwrap();
            let problem = record.problem.map(|problem| problem.message);
            let expected = (documents > 1)
                .then(|| format!("the record holds {documents} documents; give each a record of its own"));
            assert_eq!(problem, expected, "{text}");
        }
    }

    #[test]
    fn a_bad_entry_is_a_record_with_a_problem() {
        let mut config = RunConfig::default();
        config.limits.document_bytes = 20;
        let mut published = Published::new(&config, None);
        let mut problem = |entry: Entry| {
            let position = entry.index;
            let (record, document) = published.record(entry, position).unwrap();
            assert_eq!(record.document, document.hash);
            (record.id.to_string(), record.problem.map(|problem| problem.kind))
        };
        assert_eq!(problem(entry(0, "001", Some("kind: Pod"))), ("001".into(), None));
        let malformed = Some(ErrorKind::MalformedRecord);
        assert_eq!(problem(entry(1, "001", Some("kind: Pod"))), ("entry-2".into(), malformed));
        assert_eq!(problem(entry(2, "", Some("kind: Pod"))), ("entry-3".into(), malformed));
        assert_eq!(problem(entry(3, "4", None)), ("4".into(), Some(ErrorKind::MissingDocument)));
        let long = "x".repeat(21);
        assert_eq!(problem(entry(4, "5", Some(&long))), ("5".into(), Some(ErrorKind::LimitExceeded)));
        let malformed_entry = Malformed {
            id: Some("6".into()),
            policy_id: None,
            manifest_path: None,
            message: "entry 6: no policy".into(),
        };
        assert_eq!(problem(Entry { index: 5, content: Err(malformed_entry) }), ("6".into(), malformed));
    }
}
