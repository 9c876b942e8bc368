//! Runs the detector over a whole input: a first pass collects relations between documents, a second one detects.

use domain::config::Limits;
use domain::outcome::ErrorKind;
use domain::policy::PolicyId;
use domain::record::{Neighbour, Neighbours, Problem};
use engine::document::Document;
use engine::exceptions::{self, Exception};
use engine::k8s::View;
use engine::k8s::neighbours::{self, Index};
use engine::policies::{self, Finding};
use results::root::Below;

use crate::error::CorpusError;
use crate::inputs::Inputs;
use crate::parallel;
use crate::read::{FileProblem, SourceFile};
use crate::split::{self, Place};

/// What was found in one file.
#[derive(Debug)]
pub struct FileScan {
    /// Its path, as the user finds it.
    pub path: String,
    /// Its text; empty when it could not be read.
    pub text: String,
    /// Its objects, in their order.
    pub objects: Vec<Scanned>,
    /// What could not be read.
    pub troubles: Vec<Trouble>,
    /// Where it lies, to be replaced; `None` in an archive and for standard input.
    pub below: Option<Below>,
}

/// One object.
#[derive(Debug)]
pub struct Scanned {
    /// Location in its file.
    pub place: Place,
    /// The object.
    pub document: Document,
    /// Related objects of the same input.
    pub neighbours: Neighbours,
    /// Its violations, in the order of the catalogue.
    pub findings: Vec<Finding>,
    /// Its violations that its annotations except, with why.
    pub excepted: Vec<(Finding, Exception)>,
}

/// A file or a document that could not be read.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Where the document stands; `None` for the whole file.
    pub place: Option<Place>,
    /// Line of the file, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

/// An input whose neighbours are known.
#[derive(Debug)]
pub struct Scan<'a> {
    inputs: &'a Inputs,
    limits: &'a Limits,
    wanted: Vec<PolicyId>,
    index: Index,
}

impl<'a> Scan<'a> {
    /// Reads the whole input once for what stands across documents. `wanted`: the policies to look for.
    pub fn survey(
        inputs: &'a Inputs,
        limits: &'a Limits,
        wanted: Vec<PolicyId>,
    ) -> Result<Self, CorpusError> {
        let mut offers: Vec<Neighbour> = Vec::new();
        inputs.batches(limits, |files| {
            offers.extend(parallel::map(&files, |file| offers_of(file, limits)).into_iter().flatten());
            Ok::<(), CorpusError>(())
        })?;
        Ok(Self { inputs, limits, wanted, index: Index::new(offers) })
    }

    /// Judges every file and does `work` on it, on as many threads as the machine has; hands the results to `each` in
    /// the order of the input.
    pub fn files<R: Send, E: From<CorpusError>>(
        &self,
        work: impl Fn(FileScan) -> R + Sync,
        each: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut each = each;
        self.inputs.batches(self.limits, |files| {
            parallel::map(&files, |file| work(self.file(file))).into_iter().try_for_each(&mut each)
        })
    }

    /// Judges one object that is not (or no longer) what the input holds.
    pub fn findings(&self, document: &Document, neighbours: &Neighbours) -> Vec<Finding> {
        let view = View::new(document, neighbours);
        self.wanted.iter().flat_map(|policy| policies::policy(*policy).detect(&view)).collect()
    }

    /// Related objects of an object of this input.
    pub fn neighbours(&self, document: &Document) -> Neighbours {
        self.index.related(document)
    }

    fn file(&self, file: &SourceFile) -> FileScan {
        let mut scan = FileScan {
            path: file.path.clone(),
            text: file.content.clone().unwrap_or_default(),
            objects: Vec::new(),
            troubles: Vec::new(),
            below: file.below.clone(),
        };
        let text = match &file.content {
            Ok(text) => text,
            Err(problem) => {
                scan.troubles.push(trouble_with(problem));
                return scan;
            }
        };
        for (place, content) in split::objects(text, self.limits) {
            match content {
                Ok(document) => {
                    let neighbours = self.neighbours(&document);
                    let found = self.findings(&document, &neighbours);
                    let (findings, excepted) = exceptions::split(&document.value, found);
                    scan.objects.push(Scanned { place, document, neighbours, findings, excepted });
                }
                Err(unreadable) => scan.troubles.push(Trouble {
                    place: Some(place),
                    line: Some(unreadable.line),
                    problem: unreadable.problem,
                }),
            }
        }
        scan
    }
}

fn trouble_with(problem: &FileProblem) -> Trouble {
    let kind = match problem {
        FileProblem::TooLarge { .. } | FileProblem::LongName { .. } => ErrorKind::LimitExceeded,
        FileProblem::NotText(_) => ErrorKind::UnparsableDocument,
        FileProblem::Unreadable(_)
        | FileProblem::Unpackable(_)
        | FileProblem::FolderLink
        | FileProblem::Refused(_) => ErrorKind::MissingDocument,
    };
    Trouble { place: None, line: None, problem: Problem { kind, message: problem.to_string() } }
}

fn offers_of(file: &SourceFile, limits: &Limits) -> Vec<Neighbour> {
    let Ok(text) = &file.content else { return Vec::new() };
    let pieces = split::pieces(text).into_iter().filter(|(_, piece)| may_offer(piece));
    let documents = pieces.filter_map(|(_, piece)| Document::parse(piece, limits).ok());
    documents.flat_map(Document::flatten).filter_map(|(_, object)| neighbours::offer(&object)).collect()
}

/// Whether something in the text could be the kind of an object that others depend on: most files need no parsing to
/// know that they offer nothing.
fn may_offer(text: &str) -> bool {
    // A key written with escapes, or a kind behind an alias, is beyond a look at the text.
    let unusual = text.contains("\\u") || text.contains("\\x") || text.contains(": *");
    unusual
        || text.match_indices("kind").any(|(at, key)| {
            // The value may stand on the next line.
            let rest = text[at + key.len()..].trim_start_matches([' ', '\t', '\r', '\n', '"', '\'', ':']);
            let value = rest.as_bytes().split(|byte| matches!(byte, b'\n' | b',')).next().unwrap_or_default();
            let value = String::from_utf8_lossy(&value[..value.len().min(64)]);
            neighbours::OFFERING.iter().any(|kind| value.contains(kind))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_the_text_misses_no_offer() {
        for text in [
            "kind: Pod",
            "{\"kind\":\n  \"Deployment\"}",
            "'kind' : StatefulSet",
            "? kind\n: CronJob",
            "a: &k Pod\nkind: *k",
            "kind: EndpointSlice",
            "items:\n- {kind: ServiceAccount}",
        ] {
            assert!(may_offer(text), "{text}");
        }
        assert!(!may_offer("kind: ConfigMap\ndata: {x: Pod}"));
    }

    #[test]
    fn every_kind_that_offers_is_looked_for() {
        for kind in [
            "Pod",
            "PodTemplate",
            "Deployment",
            "CronJob",
            "Job",
            "Endpoints",
            "EndpointSlice",
            "Rollout",
            "PodList",
        ] {
            assert!(neighbours::OFFERING.iter().any(|offering| kind.contains(offering)), "{kind}");
        }
    }
}
