//! Runs the detector over a whole input: a first pass collects relations between documents, a second one detects.

use std::collections::BTreeMap;

use domain::config::{Context, Limits, RulesConfig, RunConfig};
use domain::outcome::ErrorKind;
use domain::policy::PolicyId;
use domain::policy::catalogue::is_beyond_paper;
use domain::record::{Neighbour, Neighbours, Problem};
use engine::detect;
use engine::document::Document;
use engine::exceptions::{self, Exception};
use engine::fragment;
use engine::k8s::View;
use engine::k8s::neighbours::{self, Index};
use engine::policies::Finding;
use engine::template;
use engine::yaml::Spans;
use results::root::Below;

use crate::error::CorpusError;
use crate::inputs::Inputs;
use crate::kustomize::{self, Kustomization, Kustomizations};
use crate::parallel;
use crate::read::{FileProblem, SourceFile};
use crate::split::{self, Parsed, Place, Positions};

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
    /// What is no object and is not meant to be one, with the reason.
    pub skipped: Vec<(Place, String)>,
    /// Where it lies, to be replaced; `None` in an archive and for standard input.
    pub below: Option<Below>,
    /// Where the nodes of each of its documents stand, by the document's number; empty unless recorded.
    pub spans: BTreeMap<usize, Spans>,
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
    /// Its violations that the settings of its repository suppress, with why. A scan finds none: who has the settings does.
    pub suppressed: Vec<(Finding, Suppressed)>,
    /// Why nothing is looked for in it: it is a fragment, which something else completes.
    pub fragment: Option<String>,
    /// Whether it holds placeholders of a template that was never rendered.
    pub is_unrendered: bool,
}

/// Why settings suppress a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Where that is written: file and line.
    pub place: String,
    /// What is written there.
    pub reason: String,
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
    /// What that says about the input.
    pub sort: TroubleSort,
}

/// What a trouble says about the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleSort {
    /// It may hold objects that nothing was looked for in.
    Broken,
    /// A template of a chart, which was never rendered.
    Template,
    /// A document that is not an object: a text, a number or a list.
    NotAnObject,
    /// A link to a folder, which a search does not follow.
    FolderLink,
}

impl TroubleSort {
    /// Of a document in the file at `path`. Placeholders are expected in the templates of a chart alone: elsewhere a document
    /// that they make unreadable is as broken as another one.
    fn of(kind: ErrorKind, path: &str) -> Self {
        match kind {
            ErrorKind::UnrenderedTemplate if is_in_templates(path) => Self::Template,
            ErrorKind::NotAnObject => Self::NotAnObject,
            _ => Self::Broken,
        }
    }
}

/// Whether a file lies below a folder that is named as a chart names that of its templates.
fn is_in_templates(path: &str) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    path.parent().is_some_and(|folder| folder.iter().any(|part| part == "templates"))
}

/// An input whose neighbours are known.
#[derive(Debug)]
pub struct Scan<'a> {
    inputs: &'a Inputs,
    limits: &'a Limits,
    wanted: Vec<PolicyId>,
    rules: &'a RulesConfig,
    positions: Positions,
    index: Index,
    kustomizations: Kustomizations,
}

/// What the first look at a file gives.
#[derive(Debug, Default)]
struct Survey {
    offers: Vec<Neighbour>,
    /// What the file says as a kustomization.
    kustomization: Option<Kustomization>,
}

impl<'a> Scan<'a> {
    /// Reads the whole input once for what stands across documents. `wanted`: the policies to look for; `context`: where the
    /// objects stand that a document is judged with; `positions`: whether files come with the places of their nodes.
    pub fn survey(
        inputs: &'a Inputs,
        config: &'a RunConfig,
        wanted: Vec<PolicyId>,
        context: Context,
        positions: Positions,
    ) -> Result<Self, CorpusError> {
        let (limits, rules) = (&config.limits, &config.rules);
        let refers = is_beyond_paper(&wanted);
        let mut offers: Vec<(String, Neighbour)> = Vec::new();
        let mut kustomizations = Kustomizations::default();
        inputs.batches(limits, |files| {
            let surveys = parallel::map(&files, |file| survey_of(file, limits, refers));
            for (file, survey) in files.iter().zip(surveys) {
                kustomizations.add(file, survey.kustomization, limits);
                offers.extend(survey.offers.into_iter().map(|offer| (file.path.clone(), offer)));
            }
            Ok::<(), CorpusError>(())
        })?;
        // A patch offers nothing: what it belongs to does.
        let offers = offers.into_iter().filter(|(path, _)| kustomizations.kustomization_of(path).is_none());
        let index = Index::in_folders(offers.map(|(path, offer)| (folder(&path).to_owned(), offer)), context);
        let index = if refers { index.with_references() } else { index };
        Ok(Self { inputs, limits, wanted, rules, positions, index, kustomizations })
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
        self.wanted.iter().flat_map(|policy| detect::found(*policy, &view, self.rules)).collect()
    }

    /// Related objects of an object in the file at `path` of this input, and its images that a kustomization replaces.
    pub fn neighbours(&self, document: &Document, path: &str) -> Neighbours {
        let related = self.index.related_in(document, folder(path));
        match (related, self.kustomizations.image_overrides(document, path)) {
            (Neighbours::Known(mut objects), overrides) if !overrides.is_empty() => {
                objects.extend(overrides);
                Neighbours::Known(objects)
            }
            (related, _) => related,
        }
    }

    /// One object of a file, judged.
    fn object(&self, path: &str, place: Place, document: Document) -> Scanned {
        let listed = self.kustomizations.kustomization_of(path);
        let fragment = listed.map(listed_by).or_else(|| fragment::reason(&document));
        let is_unrendered = !template::unrendered(&document).is_empty();
        let neighbours = self.neighbours(&document, path);
        let found = if fragment.is_some() { Vec::new() } else { self.findings(&document, &neighbours) };
        let (findings, excepted) = exceptions::split(&document.value, found);
        let suppressed = Vec::new();
        Scanned { place, document, neighbours, findings, excepted, suppressed, fragment, is_unrendered }
    }

    fn file(&self, file: &SourceFile) -> FileScan {
        let mut scan = FileScan {
            path: file.path.clone(),
            text: file.content.clone().unwrap_or_default(),
            objects: Vec::new(),
            troubles: Vec::new(),
            skipped: Vec::new(),
            below: file.below.clone(),
            spans: BTreeMap::new(),
        };
        let text = match &file.content {
            Ok(text) => text,
            Err(problem) => {
                scan.troubles.push(trouble_with(problem));
                return scan;
            }
        };
        let Parsed { objects, spans } = split::parse(text, self.limits, self.positions);
        scan.spans = spans;
        for (place, content) in objects {
            match content {
                Ok(document) => scan.objects.push(self.object(&file.path, place, document)),
                Err(unreadable) => {
                    // The operations of a JSON Patch are a list.
                    let listed = self.kustomizations.kustomization_of(&file.path);
                    let listed = listed.filter(|_| unreadable.problem.kind == ErrorKind::NotAnObject);
                    match listed {
                        Some(kustomization) => scan.skipped.push((place, listed_by(kustomization))),
                        None => scan.troubles.push(Trouble {
                            place: Some(place),
                            line: Some(unreadable.line),
                            sort: TroubleSort::of(unreadable.problem.kind, &file.path),
                            problem: unreadable.problem,
                        }),
                    }
                }
            }
        }
        scan
    }
}

/// Why a patch of a kustomization is left alone.
fn listed_by(kustomization: &str) -> String {
    format!("{kustomization} lists its file as a patch")
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
    let sort = match problem {
        FileProblem::FolderLink => TroubleSort::FolderLink,
        _ => TroubleSort::Broken,
    };
    Trouble { place: None, line: None, problem: Problem { kind, message: problem.to_string() }, sort }
}

/// `refers`: whether policies look at what documents refer to.
fn survey_of(file: &SourceFile, limits: &Limits, refers: bool) -> Survey {
    let Ok(text) = &file.content else { return Survey::default() };
    let pieces = split::pieces(text).into_iter().filter(|(_, piece)| may_offer(piece, refers));
    let documents = pieces.filter_map(|(_, piece)| Document::parse(piece, limits).ok());
    let objects = documents.flat_map(Document::flatten).map(|(_, object)| object);
    let whole = objects.filter(|object| fragment::reason(object).is_none());
    let offers = whole.flat_map(|object| {
        let reference = refers.then(|| neighbours::reference(&object)).flatten();
        neighbours::offer(&object).into_iter().chain(reference)
    });
    let offers = offers.collect();
    Survey { offers, kustomization: kustomize::read(file, limits) }
}

/// The folder of a file, by its path.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether something in the text could be the kind of an object that others depend on: most files need no parsing to
/// know that they offer nothing.
fn may_offer(text: &str, refers: bool) -> bool {
    // A key written with escapes, or a kind behind an alias, is beyond a look at the text.
    let unusual = text.contains("\\u") || text.contains("\\x") || text.contains(": *");
    unusual
        || values(text, "kind").any(|kind| {
            let referred = neighbours::REFERRED.iter().filter(|_| refers);
            neighbours::OFFERING.iter().chain(referred).any(|known| kind.contains(known))
        })
        || values(text, "apiVersion").any(|version| {
            version.split_once('/').is_some_and(|(group, _)| neighbours::is_custom_group(group))
        })
}

/// What may be the values of a key, roughly: the beginning of what follows it.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = String> + 't {
    text.match_indices(key).map(|(at, key)| {
        // The value may stand on the next line.
        let rest = text[at + key.len()..].trim_start_matches([' ', '\t', '\r', '\n', '"', '\'', ':']);
        let value = rest.as_bytes().split(|byte| matches!(byte, b'\n' | b',')).next().unwrap_or_default();
        String::from_utf8_lossy(&value[..value.len().min(64)]).into_owned()
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
            "kind: Service",
            "apiVersion: db.example.com/v1\nkind: Cluster",
            "{\"apiVersion\": \"db.example.com/v1\", \"kind\": \"Cluster\"}",
            "items:\n- {kind: ServiceAccount}",
        ] {
            assert!(may_offer(text, false), "{text}");
        }
        assert!(!may_offer("apiVersion: v1\nkind: ConfigMap\ndata: {x: Pod}", false));
        assert!(may_offer("apiVersion: v1\nkind: ConfigMap\ndata: {x: Pod}", true));
        assert!(!may_offer("apiVersion: networking.k8s.io/v1\nkind: Ingress\n", false));
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
