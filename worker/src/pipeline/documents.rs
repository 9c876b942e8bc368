//! The documents of a slice, each parsed and examined once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use domain::config::RunConfig;
use domain::ids::DocumentHash;
use domain::outcome::{ErrorKind, UNRENDERED, Verdict};
use domain::record::{Neighbours, Problem, Record, Slice, SourceDocument};
use engine::document::{Document, Identity};
use engine::propose::dialogue::Dialogue;
use engine::propose::mask::Masked;
use engine::template;
use engine::verify::{Before, Clock, examine, judge_before};

use super::context::within_bounds;
use super::row_masks::DocumentMasks;
use crate::server_judge::LeaseJudge;

/// A parsed document, examined before any patch.
pub(super) struct ParsedDocument {
    pub(super) document: Document,
    pub(super) before: Before,
    /// Why it cannot be repaired, if it is an unrendered template.
    pub(super) unrendered: Option<String>,
    pub(super) masks: DocumentMasks,
    /// What a model is shown of it, computed for the first question about it.
    masked: OnceLock<Arc<Masked>>,
}

impl ParsedDocument {
    /// What identifies the object, for a row.
    pub(super) fn identity(&self, config: &RunConfig) -> Identity {
        self.masks.identity(&self.document, config)
    }

    /// The document as a model is shown it: one for all questions about it, which may be in flight at once.
    pub(super) fn masked(&self, config: &RunConfig) -> Arc<Masked> {
        let masked = || Arc::new(Dialogue::masked_document(&self.document.value, config));
        Arc::clone(self.masked.get_or_init(masked))
    }
}

/// A record's document, or the record's problem.
pub(super) struct Lookup {
    pub(super) parsed: Result<Arc<ParsedDocument>, Problem>,
    /// Whether this lookup parsed the document, so that the time is attributed to this record alone.
    pub(super) first: bool,
}

/// The documents of a slice by their hash.
pub(super) struct DocumentCache<'s> {
    config: &'s RunConfig,
    sources: HashMap<DocumentHash, &'s SourceDocument>,
    parsed: HashMap<DocumentHash, Result<Arc<ParsedDocument>, Problem>>,
    /// Asked about each document, where the run needs a server.
    server: Option<&'s LeaseJudge>,
}

impl<'s> DocumentCache<'s> {
    pub(super) fn new(slice: &'s Slice, config: &'s RunConfig, server: Option<&'s LeaseJudge>) -> Self {
        let sources = slice.documents.iter().map(|source| (source.hash, source)).collect();
        Self { config, sources, parsed: HashMap::new(), server }
    }

    /// The record's document, parsed on the first lookup.
    pub(super) fn look_up(&mut self, record: &Record, clock: Clock<'_>) -> Lookup {
        if let Some(problem) = &record.problem {
            return Lookup { parsed: Err(problem.clone()), first: false };
        }
        if let Some(known) = self.parsed.get(&record.document) {
            return Lookup { parsed: known.clone(), first: false };
        }
        let parsed = match self.sources.get(&record.document) {
            Some(source) => self.parse(source, clock).map(Arc::new),
            None => Err(Problem {
                kind: ErrorKind::MissingDocument,
                message: "the record's document was not sent with its shard".to_owned(),
            }),
        };
        self.parsed.insert(record.document, parsed.clone());
        Lookup { parsed, first: true }
    }

    /// The objects around the record's document in its corpus.
    pub(super) fn neighbours(&self, record: &Record) -> &'s Neighbours {
        self.sources.get(&record.document).map_or(&Neighbours::Unknown, |source| &source.neighbours)
    }

    fn parse(&self, source: &SourceDocument, clock: Clock<'_>) -> Result<ParsedDocument, Problem> {
        let config = self.config;
        within_bounds("reading the document", &config.limits, || {
            let document = Document::parse(&source.text, &config.limits)
                .map_err(|error| Problem { kind: error.error_kind(), message: error.to_string() })?;
            let mut before = examine(&document, &source.neighbours, config, clock);
            if let Some(server) = self.server {
                let start = clock();
                if let Some(answer) = server.ask(&source.text, &[&document.value]) {
                    let answer = server.admit(answer, &document.value, &source.neighbours, &[]);
                    judge_before(&mut before, answer, config.verifier.depth, clock() - start);
                }
            }
            let unrendered = unrendered(&document);
            if let Some(reason) = &unrendered
                && before.schema.verdict != Verdict::NotRun
            {
                before.schema.verdict = Verdict::Failed;
                before.schema.errors.push(reason.clone());
            }
            let masks = DocumentMasks::default();
            Ok(ParsedDocument { document, before, unrendered, masks, masked: OnceLock::new() })
        })
        .unwrap_or_else(Err)
    }
}

/// The first placeholder of an unrendered template, as a reason with its remedy.
pub(crate) fn unrendered(document: &Document) -> Option<String> {
    let found = template::unrendered(document);
    let (pointer, text) = found.first()?;
    let text: String = text.chars().take(80).collect();
    let more = if found.len() > 1 { format!(" and {} more places", found.len() - 1) } else { String::new() };
    Some(format!("{UNRENDERED}{pointer} is {text:?}{more}; render the template and detect again"))
}
