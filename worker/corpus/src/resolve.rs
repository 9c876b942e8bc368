//! Finds the whole document of a published record in the manifests.
//!
//! A record often holds a *pruned* copy: kind, namespace and name survive pruning, `generateName` does not.

use std::cell::OnceCell;

use domain::config::Limits;
use domain::outcome::ErrorKind;
use domain::record::{Neighbours, Problem, SourceDocument};
use engine::document::{Document, Identity};
use results::file_error::FileError;

use crate::identity;
use crate::read::{ManifestProblem, Manifests};
use crate::split::{self, Place, Positions};

/// The manifests, with the file of the last record at hand: records come file by file.
#[derive(Debug)]
pub(crate) struct Resolver {
    manifests: Manifests,
    limits: Limits,
    last: Option<(String, Result<OpenFile, Problem>)>,
}

#[derive(Debug)]
struct OpenFile {
    text: String,
    pieces: usize,
    objects: OnceCell<Vec<(Place, Document)>>,
    /// The identity of the only object, from a look at its text.
    only: Option<Identity>,
    /// The last copy that was looked for, and what was found for it.
    memo: Option<(String, Result<SourceDocument, Problem>)>,
}

impl Resolver {
    /// Opens a folder or an archive of manifests.
    pub(crate) fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        Ok(Self { manifests: Manifests::open(path, limits)?, limits: *limits, last: None })
    }

    /// The document of the file at `manifest_path` that `copy` (the record's own, perhaps pruned) is a copy of; without
    /// a copy, the only object of the file.
    pub(crate) fn resolve(
        &mut self,
        manifest_path: &str,
        copy: Option<&str>,
    ) -> Result<SourceDocument, Problem> {
        if self.last.as_ref().is_none_or(|(path, _)| path != manifest_path) {
            self.last = Some((manifest_path.to_owned(), self.open_file(manifest_path)));
        }
        let Some((_, file)) = &mut self.last else { return Err(missing("the file is not open")) };
        let file = file.as_mut().map_err(|problem| problem.clone())?;
        let key = copy.unwrap_or_default();
        if let Some((known, found)) = &file.memo
            && known == key
        {
            return found.clone();
        }
        let found = file.find(copy, &self.limits).map_err(|problem| Problem {
            message: format!("{manifest_path}: {}", problem.message),
            ..problem
        });
        file.memo = Some((key.to_owned(), found.clone()));
        found
    }

    fn open_file(&self, manifest_path: &str) -> Result<OpenFile, Problem> {
        if manifest_path.is_empty() {
            return Err(missing("the record names no manifest_path; use documents: record"));
        }
        let text = self.manifests.text(manifest_path).map_err(|problem| {
            let kind = match &problem {
                ManifestProblem::File { .. } => ErrorKind::UnparsableDocument,
                ManifestProblem::Missing { .. } | ManifestProblem::Ambiguous { .. } => {
                    ErrorKind::MissingDocument
                }
            };
            Problem { kind, message: problem.to_string() }
        })?;
        let pieces = split::pieces(&text);
        let only = match pieces.as_slice() {
            [(_, piece)] => identity::at_a_glance(piece).filter(|identity| !identity.kind.ends_with("List")),
            _ => None,
        };
        let pieces = pieces.len();
        Ok(OpenFile { text, pieces, objects: OnceCell::new(), only, memo: None })
    }
}

fn missing(message: &str) -> Problem {
    Problem { kind: ErrorKind::MissingDocument, message: message.to_owned() }
}

impl OpenFile {
    fn find(&self, copy: Option<&str>, limits: &Limits) -> Result<SourceDocument, Problem> {
        let wanted = copy.and_then(|copy| identity::of(copy, limits));
        if let Some(only) = &self.only
            && wanted.as_ref().is_none_or(|wanted| fits(wanted, only))
        {
            return self.whole(limits);
        }
        let objects = self.objects.get_or_init(|| {
            let read = split::parse(&self.text, limits, Positions::Left).objects.into_iter();
            read.filter_map(|(place, object)| Some((place, object.ok()?))).collect()
        });
        if objects.is_empty() && self.pieces == 1 {
            // Not readable: said of the document itself when its turn comes.
            return self.whole(limits);
        }
        let identities: Vec<&Identity> = objects.iter().map(|(_, object)| &object.identity).collect();
        let at = choose(&identities, wanted.as_ref())?;
        let (place, object) = &objects[at];
        within(place.object_text(&self.text, object), limits)
    }

    /// The text of the only document of the file.
    fn whole(&self, limits: &Limits) -> Result<SourceDocument, Problem> {
        let text = split::pieces(&self.text).first().map_or("", |(_, text)| *text).to_owned();
        within(text, limits)
    }
}

fn within(text: String, limits: &Limits) -> Result<SourceDocument, Problem> {
    if text.len() > limits.document_bytes {
        let message = format!(
            "the document has {} bytes, more than limits.document_bytes = {}; raise the limit or leave it out",
            text.len(),
            limits.document_bytes
        );
        return Err(Problem { kind: ErrorKind::LimitExceeded, message });
    }
    Ok(SourceDocument::new(text, Neighbours::Unknown))
}

/// Whether an object can be what a pruned copy was made of.
fn fits(wanted: &Identity, object: &Identity) -> bool {
    wanted.kind == object.kind
        && wanted.namespace == object.namespace
        && (wanted.name == object.name || wanted.name.is_empty())
}

/// Which of the objects of a file is meant; the first of equals.
fn choose(objects: &[&Identity], wanted: Option<&Identity>) -> Result<usize, Problem> {
    let Some(wanted) = wanted else {
        return match objects {
            [_] => Ok(0),
            _ => Err(missing(&format!(
                "holds {} objects and the record does not say which; use documents: record",
                objects.len()
            ))),
        };
    };
    let same = |object: &Identity| fits(wanted, object) && wanted.name == object.name;
    if let Some(at) = objects.iter().position(|object| same(object)) {
        return Ok(at);
    }
    let alike: Vec<usize> = (0..objects.len()).filter(|at| fits(wanted, objects[*at])).collect();
    match alike.as_slice() {
        [at] => Ok(*at),
        [] => Err(missing(&format!("holds no {}; it changed since the record was made", shown(wanted)))),
        _ => Err(missing(&format!(
            "holds {} objects that could be the {} of the record; use documents: record",
            alike.len(),
            shown(wanted)
        ))),
    }
}

fn shown(identity: &Identity) -> String {
    let or =
        |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    let namespace =
        if identity.namespace.is_empty() { String::new() } else { format!("{}/", identity.namespace) };
    format!(
        "{} {namespace}{}",
        or(&identity.kind, "object without kind"),
        or(&identity.name, "(without a name)")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> OpenFile {
        let pieces = split::pieces(text);
        let only = match pieces.as_slice() {
            [(_, piece)] => identity::at_a_glance(piece).filter(|identity| !identity.kind.ends_with("List")),
            _ => None,
        };
        let pieces = pieces.len();
        OpenFile { text: text.to_owned(), pieces, objects: OnceCell::new(), only, memo: None }
    }

    fn found(text: &str, copy: Option<&str>) -> Result<String, String> {
        let found = file(text).find(copy, &Limits::default());
        found.map(|document| document.text.to_string()).map_err(|problem| problem.message)
    }

    const MANY: &str = "kind: Pod\nmetadata:\n  name: a\nx: 1\n---\nkind: List\nitems:\n- kind: Pod\n  metadata: {name: b}\n- kind: Job\n  metadata: {generateName: c-}\n---\nkind: Pod\nmetadata:\n  name: a\nx: 2\n";

    #[test]
    fn by_kind_namespace_and_name_first_of_equals() {
        let copy = |text| found(MANY, Some(text));
        assert_eq!(
            copy("kind: Pod\nmetadata:\n  name: a\n").unwrap(),
            "kind: Pod\nmetadata:\n  name: a\nx: 1\n"
        );
        assert_eq!(copy("kind: Pod\nmetadata: {name: b}").unwrap(), "kind: Pod\nmetadata:\n  name: b\n");
        let job = copy("kind: Job\nmetadata: {}").unwrap();
        assert!(job.contains("generateName: c-"), "a pruned copy lost its generateName: {job}");
        assert!(copy("kind: Pod\nmetadata: {name: z}").unwrap_err().contains("holds no Pod z"));
        assert!(copy("kind: Pod").unwrap_err().contains("3 objects that could be"));
        assert!(found(MANY, None).unwrap_err().contains("does not say which"));
    }

    #[test]
    fn the_only_object_of_a_file() {
        let text = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: x-\nspec: {a: 1}\n";
        assert_eq!(found(text, Some("kind: Job\nmetadata: {}\n")).unwrap(), text);
        assert_eq!(found(text, None).unwrap(), text);
        assert_eq!(found(text, Some("a: [")).unwrap(), text, "an unreadable copy of the only object");
        assert!(found(text, Some("kind: Pod\n")).is_err());
        assert_eq!(found("a: [", Some("kind: Pod\n")).unwrap(), "a: [", "judged when its turn comes");
    }

    #[test]
    fn a_document_beyond_the_limit_is_a_problem() {
        let limits = Limits { document_bytes: 10, ..Limits::default() };
        let problem = file("kind: ConfigMap\n").find(None, &limits).unwrap_err();
        assert_eq!(problem.kind, ErrorKind::LimitExceeded);
    }
}
