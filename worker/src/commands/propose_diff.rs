//! `worker propose --diff PATH…`: the patches of a file as one diff, each proposed for the result of the previous ones.

use cli_support::output;
use domain::config::RunConfig;
use domain::outcome::{Caution, Proposal};
use domain::policy::{PolicyId, PolicyName};
use engine::document::Document;
use engine::k8s::View;
use engine::propose::Decision;
use engine::{detect, exceptions};
use serde_json::Value;

use super::companions::companions_of;
use crate::repair::{missing_break, object_in, patched_piece, print_diff, propose};
use corpus::{FileScan, Scanned};

/// What is proposed for a file.
#[derive(Debug, Default)]
pub(super) struct Proposed {
    /// One decision for each policy that an object violates.
    pub(super) decisions: Vec<Decision>,
    /// What each patch is for.
    headings: Vec<String>,
    /// Why there is no patch.
    reasons: Vec<String>,
    /// The file with all patches.
    text: String,
    companions: Vec<Value>,
}

/// What a patch is for, with its cautions.
pub(super) fn heading(policy: &PolicyName, cautions: &[Caution]) -> String {
    let cautions: Vec<&str> = cautions.iter().map(|caution| caution.as_str()).collect();
    let cautions = if cautions.is_empty() { String::new() } else { format!(" ({})", cautions.join(", ")) };
    format!("{}{cautions}", policy.as_str())
}

impl Proposed {
    /// Proposes patches for the objects of a file.
    pub(super) fn of(file: &FileScan, selected: &[PolicyId], config: &RunConfig) -> Self {
        let mut proposed = Self::default();
        let mut copied = 0;
        for objects in file.objects.chunk_by(|one, other| one.place.piece == other.place.piece) {
            let Some(place) = objects.first().map(|object| &object.place) else { continue };
            let old = place.text(&file.text);
            let mut piece = old.to_owned();
            for object in objects.iter().filter(|object| !object.findings.is_empty()) {
                proposed.object(file, object, selected, &mut piece, config);
            }
            let end = place.offset + place.length;
            proposed.text.push_str(&file.text[copied..place.offset]);
            proposed.text.push_str(&piece);
            proposed.text.push_str(missing_break(old, &piece, &file.text[end..]));
            copied = end;
        }
        proposed.text.push_str(&file.text[copied..]);
        proposed
    }

    fn object(
        &mut self,
        file: &FileScan,
        object: &Scanned,
        selected: &[PolicyId],
        piece: &mut String,
        config: &RunConfig,
    ) {
        let mut document = object.document.clone();
        for policy in selected {
            let found = detect::found(*policy, &View::new(&document, &object.neighbours), &config.rules);
            if exceptions::split(&document.value, found).0.is_empty() {
                continue;
            }
            let name = PolicyName::Known(*policy);
            let decision = propose(&document, &object.neighbours, &name, config);
            let reason = match &decision {
                Decision::Repair(proposal) => {
                    self.take(object, proposal, &name, piece, &mut document, config).err()
                }
                Decision::NeedsReview { reason } => Some(reason.clone()),
                Decision::NotApplicable { .. } => None,
                Decision::NoRule => Some("no rule exists for the policy".to_owned()),
            };
            if let Some(reason) = reason {
                let line = object.place.lines + 1;
                self.reasons.push(format!("{}:{line}: {}: {reason}", file.path, name.as_str()));
            }
            self.decisions.push(decision);
        }
    }

    /// Applies a patch to the text; `Err`: why it cannot be.
    fn take(
        &mut self,
        object: &Scanned,
        proposal: &Proposal,
        policy: &PolicyName,
        piece: &mut String,
        document: &mut Document,
        config: &RunConfig,
    ) -> Result<(), String> {
        let place = &object.place;
        let rewritten = patched_piece(piece, &place.pointer, &proposal.patch, &config.limits)
            .map_err(|error| error.to_string())?;
        *document =
            object_in(&rewritten.text, place, &config.limits).ok_or("the patched document cannot be read")?;
        *piece = rewritten.text;
        self.headings.push(heading(policy, &proposal.cautions));
        for companion in &proposal.companions {
            if !self.companions.contains(companion) {
                self.companions.push(companion.clone());
            }
        }
        Ok(())
    }

    /// Prints the diff, after what its patches are for.
    pub(super) fn show(&self, file: &FileScan, config: &RunConfig) -> anyhow::Result<()> {
        self.reasons.iter().for_each(|reason| output::say(reason));
        for heading in &self.headings {
            output::print(&format!("# {heading}\n"))?;
        }
        print_diff(&file.path, &file.text, &self.text)?;
        match companions_of(file, &self.companions, config) {
            Ok(Some(companions)) => print_diff(&companions.path, &companions.old, &companions.new)?,
            Ok(None) => {}
            Err(error) => output::say(&format!("{}: {error:#}", file.path)),
        }
        Ok(())
    }
}
