//! Repairs the objects of one file, one after the other.

use domain::config::{Limits, RunConfig};
use domain::outcome::Caution;
use domain::policy::PolicyId;
use domain::record::Neighbours;
use engine::detect;
use engine::document::Document;
use engine::exceptions;
use engine::k8s::neighbours;
use engine::rewrite::Style;
use engine::yaml;
use serde_json::Value;

use super::allowed::Allowed;
use crate::repair::{Attempt, attempt, missing_break, patched_piece};
use crate::server_gate::{Asked, ServerGate, ServerOpinion};
use corpus::{FileScan, Place};

/// Result of the repair of one file.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// The new text; `None` when nothing changed.
    pub(super) text: Option<String>,
    pub(super) companions: Vec<Value>,
    /// Messages about the applied repairs, with their cautions.
    pub(super) applied: Vec<String>,
    /// Messages about the violations that are left, with their reasons.
    pub(super) left: Vec<String>,
    /// The cautions of each repair that was not allowed.
    pub(super) held_back: Vec<Vec<Caution>>,
}

/// How files are repaired.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) selected: &'a [PolicyId],
    /// Whether a document may be written anew.
    pub(super) rewrite: bool,
    pub(super) allowed: &'a Allowed,
    pub(super) config: &'a RunConfig,
    /// The server that is the schema gate.
    pub(super) gate: Option<&'a ServerGate>,
}

/// Repairs the documents of a file, one after the other.
pub(super) fn repair_file(file: &FileScan, manner: Manner<'_>) -> anyhow::Result<Repaired> {
    let mut repaired = Repaired::default();
    let mut text = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(first) = file.objects.get(at) {
        let place = &first.place;
        let objects = file.objects[at..].iter().take_while(|object| object.place.piece == place.piece);
        let objects: Vec<_> = objects.collect();
        at += objects.len();
        if objects.iter().all(|object| object.findings.is_empty()) {
            continue;
        }
        let mut piece = place.text(&file.text).to_owned();
        for object in objects.iter().filter(|object| !object.findings.is_empty()) {
            let mut repair =
                ObjectRepair { file, place: &object.place, neighbours: object.neighbours.clone(), manner };
            repair.run(&mut piece, object.document.clone(), &mut repaired)?;
        }
        text.push_str(&file.text[copied..place.offset]);
        text.push_str(&piece);
        copied = place.offset + place.length;
        text.push_str(missing_break(place.text(&file.text), &piece, &file.text[copied..]));
    }
    text.push_str(&file.text[copied..]);
    if text != file.text {
        repaired.text = Some(text);
    }
    Ok(repaired)
}

/// Repairs one object of a file.
struct ObjectRepair<'a> {
    file: &'a FileScan,
    place: &'a Place,
    neighbours: Neighbours,
    manner: Manner<'a>,
}

impl ObjectRepair<'_> {
    fn run(
        &mut self,
        piece: &mut String,
        mut document: Document,
        repaired: &mut Repaired,
    ) -> anyhow::Result<()> {
        let Manner { selected, rewrite, allowed, config, .. } = self.manner;
        for policy in selected {
            let view = engine::k8s::View::new(&document, &self.neighbours);
            let found = detect::found(*policy, &view, &config.rules);
            let (found, _) = exceptions::split(&document.value, found);
            let Some(finding) = found.first() else { continue };
            let subject = self.subject(&document, *policy);
            match attempt(&document, &self.neighbours, *policy, config) {
                Attempt::Accepted(proposal) => {
                    let held_back = allowed.held_back(&proposal.cautions);
                    if !held_back.is_empty() {
                        repaired.held_back.push(held_back);
                        continue;
                    }
                    let rewritten =
                        patched_piece(piece, &self.place.pointer, &proposal.patch, &config.limits);
                    let rewritten = match rewritten {
                        Ok(rewritten) => rewritten,
                        Err(error) => {
                            repaired.left.push(format!("{subject}: {error}"));
                            continue;
                        }
                    };
                    let Some(next) = object_in(&rewritten.text, self.place, &config.limits) else {
                        repaired.left.push(format!("{subject}: the repaired document cannot be read"));
                        continue;
                    };
                    if rewritten.style == Style::Reserialised && !rewrite {
                        repaired.left.push(format!(
                            "{subject}: the repair is not an edit of the text (an alias, an explicit key, or too many edits): \
                             --rewrite writes the document anew, without its comments"
                        ));
                        continue;
                    }
                    let asked = Asked {
                        document: &document,
                        patched: Some(&next.value),
                        neighbours: &self.neighbours,
                        companions: &proposal.companions,
                        release: config.verifier.kubernetes,
                    };
                    if let Some(refusal) = self.refusal(piece, &rewritten.text, asked)? {
                        repaired.left.push(format!("{subject}: {refusal}"));
                        continue;
                    }
                    let mut notes: Vec<String> =
                        proposal.cautions.iter().map(|caution| caution.sentence().to_owned()).collect();
                    if rewritten.style == Style::Reserialised {
                        notes.push("the document had to be re-serialised: its comments are lost".to_owned());
                    }
                    let notes =
                        if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
                    repaired.applied.push(format!("{subject}: repaired{notes}"));
                    for companion in proposal.companions {
                        self.add_neighbour(&companion);
                        if !repaired.companions.contains(&companion) {
                            repaired.companions.push(companion);
                        }
                    }
                    *piece = rewritten.text;
                    document = next;
                }
                Attempt::Rejected(errors) => {
                    let why = errors.first().map_or("a gate rejected it", String::as_str);
                    repaired.left.push(format!("{subject}: no patch passes the gates: {why}"));
                }
                Attempt::NeedsReview(reason) => {
                    repaired.left.push(format!("{subject}: needs review: {reason}"));
                }
                Attempt::NotApplicable => repaired.left.push(format!("{subject}: {}", finding.message)),
            }
        }
        Ok(())
    }

    /// Why the server refuses a repair, if there is a server and it does. `before` and `after`: the text around it.
    fn refusal(&self, before: &str, after: &str, asked: Asked<'_>) -> anyhow::Result<Option<String>> {
        let Some(gate) = self.manner.gate else { return Ok(None) };
        let of_companion = |companion| gate.judge(&yaml::to_yaml(companion));
        let opinion = ServerOpinion {
            before: gate.judge(before)?,
            after: Some(gate.judge(after)?),
            companions: asked.companions.iter().map(of_companion).collect::<anyhow::Result<_>>()?,
        };
        Ok(opinion.refusal(asked, gate.identity()))
    }

    /// Adds a companion to the neighbours of the object.
    fn add_neighbour(&mut self, companion: &Value) {
        let Ok(companion) = Document::from_value(companion.clone()) else { return };
        if let Neighbours::Known(known) = &mut self.neighbours {
            let refers = self.manner.config.detector.is_beyond_paper();
            known.extend(neighbours::offer(&companion));
            known.extend(refers.then(|| neighbours::reference(&companion)).flatten());
            known.sort_unstable();
            known.dedup();
        }
    }

    fn subject(&self, document: &Document, policy: PolicyId) -> String {
        let identity = &document.identity;
        let name = if identity.name.is_empty() { "(unnamed)" } else { &identity.name };
        format!("{}:{}: {} {name}: {policy}", self.file.path, self.place.lines + 1, identity.kind)
    }
}

/// The object at `place` in the new text of its document.
fn object_in(piece: &str, place: &Place, limits: &Limits) -> Option<Document> {
    let whole = Document::parse(piece, limits).ok()?;
    whole.flatten().into_iter().find(|(pointer, _)| *pointer == place.pointer).map(|(_, object)| object)
}
