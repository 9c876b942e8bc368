//! Repairs one object of a user's file for one policy: propose, verify, rewrite the text.

use std::time::{Duration, Instant};

use cli_support::escape;
use cli_support::output::{self, Paint};
use domain::config::{Limits, RunConfig};
use domain::outcome::{Fault, Gates, Proposal};
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use engine::document::Document;
use engine::k8s::View;
use engine::propose::{Decision, rules};
use engine::rewrite::{RewriteError, Rewritten, rewrite};
use engine::steps::{TooSlow, limited};
use engine::verify::{Candidate, Verification, examine};

use crate::findings::below;
use crate::pipeline::unrendered;
use crate::verifier::verify;
use corpus::Place;

/// Proposes a patch by the rules; an unrendered template needs review.
pub(crate) fn propose(
    document: &Document,
    neighbours: &Neighbours,
    policy: &PolicyName,
    config: &RunConfig,
) -> Decision {
    let decide = || match unrendered(document) {
        Some(reason) => Decision::NeedsReview { reason },
        None => rules::propose(&View::new(document, neighbours), policy, &config.rules),
    };
    let too_slow = |error: TooSlow| Decision::NeedsReview { reason: error.to_string() };
    limited(config.limits.record_steps, decide).unwrap_or_else(too_slow)
}

/// Verifies a proposal by the gates.
pub(crate) fn verify_proposal(
    document: &Document,
    neighbours: &Neighbours,
    policy: &PolicyName,
    proposal: &Proposal,
    config: &RunConfig,
) -> Verification {
    let start = Instant::now();
    let clock = || start.elapsed().as_secs_f64() * 1e3;
    let before = examine(document, neighbours, config, &clock);
    verify(Candidate { document, neighbours, before: &before, policy, proposal }, config, &clock)
}

/// Result of the repair of one object for one policy.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Every gate accepted the proposal: their verdicts.
    Accepted(Proposal, Box<Gates>),
    /// A gate rejected it: whose fault that is, and the errors.
    Rejected(Fault, Vec<String>),
    /// There is no proposal: the reason.
    NeedsReview(String),
    /// There is nothing to repair.
    NotApplicable,
}

/// Proposes a patch by the rules and verifies it.
pub(crate) fn attempt(
    document: &Document,
    neighbours: &Neighbours,
    policy: PolicyId,
    config: &RunConfig,
) -> Attempt {
    let policy = PolicyName::Known(policy);
    match propose(document, neighbours, &policy, config) {
        Decision::Repair(proposal) => {
            let judge = || verify_proposal(document, neighbours, &policy, &proposal, config);
            let verification = match limited(config.limits.record_steps, judge) {
                Ok(verification) => verification,
                Err(error) => return Attempt::NeedsReview(error.to_string()),
            };
            if verification.accepted() {
                Attempt::Accepted(proposal, Box::new(verification.gates))
            } else {
                Attempt::Rejected(verification.fault, verification.errors())
            }
        }
        Decision::NeedsReview { reason } => Attempt::NeedsReview(reason),
        Decision::NotApplicable { .. } => Attempt::NotApplicable,
        Decision::NoRule => Attempt::NeedsReview("no rule exists for the policy".to_owned()),
    }
}

/// The text of a document after a patch of the object at `object` in it.
pub(crate) fn patched_piece(
    piece: &str,
    object: &Pointer,
    patch: &Patch,
    limits: &Limits,
) -> Result<Rewritten, RewriteError> {
    rewrite(piece, &moved(patch, object), limits)
}

/// The object at `place` in the new text of its document.
pub(crate) fn object_in(piece: &str, place: &Place, limits: &Limits) -> Option<Document> {
    let whole = Document::parse(piece, limits).ok()?;
    whole.flatten().into_iter().find(|(pointer, _)| *pointer == place.pointer).map(|(_, object)| object)
}

/// The text of a file after a patch of one of its objects.
pub(crate) fn patched_file(
    file: &str,
    place: &Place,
    patch: &Patch,
    limits: &Limits,
) -> Result<Rewritten, RewriteError> {
    let old = place.text(file);
    let piece = patched_piece(old, &place.pointer, patch, limits)?;
    let (head, tail) = (&file[..place.offset], &file[place.offset + place.length..]);
    let missing = missing_break(old, &piece.text, tail);
    Ok(Rewritten { text: format!("{head}{}{missing}{tail}", piece.text), style: piece.style })
}

/// The line break that a document lost in its repair and that what follows in the file (`tail`) needs: a separator stands on
/// a line of its own. JSON objects that follow each other need none.
pub(crate) fn missing_break(old: &str, new: &str, tail: &str) -> &'static str {
    if tail.is_empty() || new.ends_with('\n') || !old.ends_with('\n') { "" } else { "\n" }
}

/// The patch of an object as a patch of the document that holds it.
fn moved(patch: &Patch, object: &Pointer) -> Patch {
    if *object == Pointer::ROOT {
        return patch.clone();
    }
    let to = |pointer: &Pointer| below(object, pointer);
    let op = |op: &Op| match op {
        Op::Add { path, value } => Op::Add { path: to(path), value: value.clone() },
        Op::Remove { path } => Op::Remove { path: to(path) },
        Op::Replace { path, value } => Op::Replace { path: to(path), value: value.clone() },
        Op::Move { from, path } => Op::Move { from: to(from), path: to(path) },
        Op::Copy { from, path } => Op::Copy { from: to(from), path: to(path) },
        Op::Test { path, value } => Op::Test { path: to(path), value: value.clone() },
    };
    Patch(patch.0.iter().map(op).collect())
}

/// The verdicts of all gates as JSON.
pub(crate) fn verdicts(gates: &Gates) -> serde_json::Value {
    serde_json::json!({
        "apply": gates.apply.verdict,
        "policy": gates.policy.verdict,
        "safety": gates.safety.verdict,
        "schema_before": gates.schema_before.verdict,
        "schema": gates.schema.verdict,
        "rescan": gates.rescan.verdict,
    })
}

/// Longest time to look for the smallest diff; a larger one is shown then. Looking takes the product of lines and changes.
const LONGEST_DIFF: Duration = Duration::from_secs(2);

/// A change as a unified diff, with characters that act on a terminal escaped; empty when nothing changes.
pub(crate) fn diff(path: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let lines = similar::TextDiff::configure().timeout(LONGEST_DIFF).diff_lines(old, new);
    let shown = escape::one_line(path.trim_start_matches("./").trim_start_matches('/'));
    let before = if old.is_empty() { "/dev/null".to_owned() } else { format!("a/{shown}") };
    let after = if new.is_empty() { "/dev/null".to_owned() } else { format!("b/{shown}") };
    let diff = lines.unified_diff().header(&before, &after).to_string();
    escape::lines(&diff).into_owned()
}

/// Prints a [`diff`], in colours where they are wanted.
pub(crate) fn print_diff(path: &str, old: &str, new: &str) -> std::io::Result<()> {
    output::print(&coloured(&diff(path, old, new), Paint::stdout()))
}

fn coloured(diff: &str, paint: Paint) -> String {
    let line = |line: &str| {
        let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
        let text = match text.as_bytes().first() {
            _ if text.starts_with("+++ ") || text.starts_with("--- ") => paint.strong(text),
            Some(b'+') => paint.good(text),
            Some(b'-') => paint.bad(text),
            Some(b'@') => paint.faint(text),
            _ => text.to_owned(),
        };
        text + end
    };
    diff.split_inclusive('\n').map(line).collect()
}
