//! Repairs one object of a file, policy after policy.

use std::collections::BTreeMap;

use domain::outcome::{Caution, Fault, Gates, Proposal};
use domain::policy::PolicyId;
use domain::record::Neighbours;
use engine::detect;
use engine::document::Document;
use engine::exceptions;
use engine::inverse::inverse;
use engine::k8s::{View, neighbours};
use engine::rewrite::{Rewritten, Style};
use engine::yaml;
use serde_json::Value;

use super::interactive::{Asker, DECLINED, NOT_ASKED, Offer};
use super::repaired::{Manner, Repair, Repaired};
use super::tracking::Tracking;
use crate::commands::stop::Stop;
use crate::findings::outcome::Outcome;
use crate::repair::{Attempt, attempt, object_in, patched_piece};
use crate::server_gate::{Asked, ServerOpinion};
use corpus::{FileScan, Place};

/// Repairs one object of a file.
pub(super) struct ObjectRepair<'a> {
    pub(super) file: &'a FileScan,
    pub(super) place: &'a Place,
    /// The number of the object in its file.
    pub(super) number: usize,
    pub(super) neighbours: Neighbours,
    pub(super) manner: Manner<'a>,
}

/// A repair whose text is known.
struct Written {
    text: String,
    style: Style,
    document: Document,
}

impl ObjectRepair<'_> {
    /// Repairs the object in the text of its document, `piece`.
    pub(super) fn run(
        &mut self,
        piece: &mut String,
        mut document: Document,
        tracking: &mut Option<Tracking>,
        repaired: &mut Repaired,
    ) -> anyhow::Result<()> {
        let mut left: BTreeMap<PolicyId, String> = BTreeMap::new();
        let suppressions = self.manner.suppressions.of_file(&self.file.path);
        for policy in self.manner.selected {
            if suppressions.why(&document.identity, *policy).is_some() {
                continue;
            }
            let Some(message) = self.violation(&document, *policy) else { continue };
            let reason = if self.manner.asker.is_some_and(Asker::is_over) {
                Some(NOT_ASKED.to_owned())
            } else {
                self.repair((*policy, message), piece, &mut document, tracking, repaired)?
            };
            left.extend(reason.map(|reason| (*policy, reason)));
        }
        self.settle(&document, left, repaired);
        self.note_cautions(&document, repaired);
        Ok(())
    }

    /// Repairs the violation of a policy. Gives the reason where that is left.
    fn repair(
        &mut self,
        (policy, message): (PolicyId, String),
        piece: &mut String,
        document: &mut Document,
        tracking: &mut Option<Tracking>,
        repaired: &mut Repaired,
    ) -> anyhow::Result<Option<String>> {
        self.manner.stop.map_or(Ok(()), Stop::check)?;
        let (proposal, gates) = match attempt(document, &self.neighbours, policy, self.manner.config) {
            Attempt::Accepted(proposal, gates) => (proposal, gates),
            Attempt::Rejected(fault, errors) => return Ok(Some(rejection(fault, &errors))),
            Attempt::NeedsReview(reason) => return Ok(Some(format!("needs review: {reason}"))),
            Attempt::NotApplicable => return Ok(Some(message)),
        };
        let held_back = self.manner.allowed.held_back(&proposal.cautions);
        if !held_back.is_empty() {
            repaired.outcomes.insert((self.number, policy), Outcome::HeldBack(held_back.clone()));
            repaired.held_back.push(held_back);
            return Ok(None);
        }
        let written = match self.written(piece, document, &proposal)? {
            Ok(written) => written,
            Err(reason) => return Ok(Some(reason)),
        };
        if !self.is_wanted(policy, &proposal, document, (piece, &written.text))? {
            return Ok(Some(DECLINED.to_owned()));
        }
        if let Some(tracking) = tracking {
            tracking.step(piece, &written.text, repaired.repairs.len());
        }
        self.take(policy, document, (proposal, *gates), &written, repaired);
        *piece = written.text;
        *document = written.document;
        Ok(None)
    }

    /// Whether the repair is to be made: asked about where somebody is there to answer. `pieces`: its document without it and
    /// with it.
    fn is_wanted(
        &self,
        policy: PolicyId,
        proposal: &Proposal,
        document: &Document,
        pieces: (&str, &str),
    ) -> anyhow::Result<bool> {
        let Some(asker) = self.manner.asker else { return Ok(true) };
        let text = &self.file.text;
        let (head, tail) = (
            text.get(..self.place.offset).unwrap_or_default(),
            text.get(self.place.offset + self.place.length..).unwrap_or_default(),
        );
        let (path, subject) = (&self.file.path, &self.subject(document));
        let (before, after) = (format!("{head}{}{tail}", pieces.0), format!("{head}{}{tail}", pieces.1));
        let offer = Offer { path, subject, policy, proposal, before: &before, after: &after };
        Ok(asker.wants(&offer)?)
    }

    /// Notes the cautions of the repairs. Where every container has a user by now, which one it is is known.
    fn note_cautions(&self, document: &Document, repaired: &mut Repaired) {
        let view = View::new(document, &self.neighbours);
        let user_is_known = detect::found(PolicyId::RunAsUser, &view, &self.manner.config.rules).is_empty();
        for repair in repaired.repairs.iter_mut().filter(|repair| repair.object == self.number) {
            repair.cautions.retain(|caution| !user_is_known || *caution != Caution::ImageUserUnknown);
            let outcome = Outcome::Fixed(repair.cautions.clone());
            repaired.outcomes.insert((self.number, repair.policy), outcome);
        }
    }

    /// The message of a violation of a policy that no annotation excepts.
    fn violation(&self, document: &Document, policy: PolicyId) -> Option<String> {
        let view = View::new(document, &self.neighbours);
        let found = detect::found(policy, &view, &self.manner.config.rules);
        let (found, _) = exceptions::split(&document.value, found);
        found.into_iter().next().map(|finding| finding.message)
    }

    /// The text of the document with a repair that all gates accepted; `Err`: why it cannot be written.
    fn written(
        &self,
        piece: &str,
        document: &Document,
        proposal: &Proposal,
    ) -> anyhow::Result<Result<Written, String>> {
        let config = self.manner.config;
        let rewritten = patched_piece(piece, &self.place.pointer, &proposal.patch, &config.limits);
        let Rewritten { text, style } = match rewritten {
            Ok(rewritten) => rewritten,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(next) = object_in(&text, self.place, &config.limits) else {
            return Ok(Err("the repaired document cannot be read".to_owned()));
        };
        if style == Style::Reserialised && !self.manner.rewrite {
            return Ok(Err(
                "the repair is not an edit of the text (an alias, an explicit key, or too many edits): \
                           --rewrite writes the document anew, without its comments"
                    .to_owned(),
            ));
        }
        let asked = Asked {
            document,
            patched: Some(&next.value),
            neighbours: &self.neighbours,
            companions: &proposal.companions,
            release: config.verifier.kubernetes,
        };
        if let Some(refusal) = self.refusal(piece, &text, asked)? {
            return Ok(Err(refusal));
        }
        Ok(Ok(Written { text, style, document: next }))
    }

    /// Notes an applied repair.
    fn take(
        &mut self,
        policy: PolicyId,
        document: &Document,
        (proposal, gates): (Proposal, Gates),
        written: &Written,
        repaired: &mut Repaired,
    ) {
        repaired.repairs.push(Repair {
            object: self.number,
            policy,
            subject: self.subject(document),
            cautions: proposal.cautions,
            is_reserialised: written.style == Style::Reserialised,
            // A patch that was applied has an inverse, unless that is larger than a patch may be.
            inverse: inverse(&document.value, &proposal.patch).ok(),
            patch: proposal.patch,
            gates,
            companions: proposal.companions.clone(),
        });
        for companion in proposal.companions {
            self.add_neighbour(&companion);
            if !repaired.companions.contains(&companion) {
                repaired.companions.push(companion);
            }
        }
    }

    /// Notes what is left. A violation that the repair of another policy cleared later is not. Policies with one reason are
    /// named together.
    fn settle(&self, document: &Document, left: BTreeMap<PolicyId, String>, repaired: &mut Repaired) {
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        let mut left = left;
        for policy in self.manner.selected {
            let Some(reason) = left.remove(policy) else { continue };
            if self.violation(document, *policy).is_none() {
                continue;
            }
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                _ if reason == NOT_ASKED => {}
                Some((_, policies)) => policies.push(policy.as_str()),
                None => reasons.push((reason.clone(), vec![policy.as_str()])),
            }
            repaired.left += 1;
            repaired.outcomes.insert((self.number, *policy), Outcome::Left(reason));
        }
        let subject = self.subject(document);
        let line = |(reason, policies): &(String, Vec<&str>)| {
            format!("{subject}: {}: {reason}", policies.join(", "))
        };
        repaired.reasons.extend(reasons.iter().map(line));
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

    fn subject(&self, document: &Document) -> String {
        let identity = &document.identity;
        let name = if identity.name.is_empty() { "(unnamed)" } else { &identity.name };
        // Lines of a rendering are not those of the file that it names.
        let line = if self.manner.rendered { String::new() } else { format!(":{}", self.place.lines + 1) };
        format!("{}{line}: {} {name}", self.file.path, identity.kind)
    }
}

fn rejection(fault: Fault, errors: &[String]) -> String {
    let why = errors.first().map_or("a gate rejected it", String::as_str);
    match fault {
        Fault::Document => format!("the document is invalid before any repair: {why}"),
        _ => format!("no patch passes the gates: {why}"),
    }
}
