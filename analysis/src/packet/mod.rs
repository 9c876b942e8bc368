//! A packet for review: what a person needs to decide about the accepted repairs of a run, and the order to roll them out.
//!
//! *Owns*: grouping by document, blast radius, change windows, the plan for a repository, and the files of the packet.
//!
//! *Invariant*: secrets of manifests are masked. A revert is shown only if patch and revert together give the document. The
//! packet is bounded, and so is each of its files; nothing but its own folder is written, and nothing is pushed.

mod forms;
mod plan;
mod radius;
mod read;
mod revert;
mod windows;
mod write;

use serde::Serialize;
use serde_json::Value;

pub(crate) use forms::overview;
pub(crate) use plan::{Plan, plan};
use radius::Radius;
pub(crate) use read::read;
use revert::Revert;
pub(crate) use write::write;

use crate::report::block::Document;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Documents in the packet, at most.
    pub(crate) most: usize,
    /// Minutes of a change window.
    pub(crate) window: f64,
    /// The branch that a change is based on.
    pub(crate) base: String,
}

/// The accepted repairs of a run by document, in the order of the rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Packet {
    pub(crate) run_id: String,
    /// What judged the repairs.
    pub(crate) judged_by: String,
    pub(crate) records: u64,
    /// Accepted repairs of the run.
    pub(crate) accepted: u64,
    /// Documents that they are about.
    pub(crate) documents: usize,
    /// Of these, the ones that are not in the packet: those that would come last.
    pub(crate) left_out: usize,
    pub(crate) windows: Vec<Window>,
    pub(crate) units: Vec<Unit>,
}

/// A change window: documents that are rolled out together, all of one blast radius.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Window {
    /// From 1 on.
    pub(crate) number: usize,
    pub(crate) radius: Radius,
    /// Expected time of its rollouts one after the other, in minutes.
    pub(crate) minutes: f64,
    /// Numbers of its documents.
    pub(crate) units: Vec<usize>,
    pub(crate) risk: f64,
}

/// A document and its repairs: what is rolled out at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Unit {
    /// From 1 on, in the order of the rollout: the name of its file.
    pub(crate) number: usize,
    /// Hash of the document; null: not known.
    pub(crate) document: Option<String>,
    pub(crate) manifest: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) radius: Radius,
    /// Pods that it makes, as far as it says.
    pub(crate) replicas: u64,
    /// Whether its pods are replaced.
    pub(crate) replaces_pods: bool,
    /// Sum over its repairs.
    pub(crate) risk: f64,
    pub(crate) score: f64,
    /// Expected time of its rollout.
    pub(crate) minutes: f64,
    pub(crate) repairs: Vec<Repair>,
    /// Accepted repairs of the document beyond the first forty.
    pub(crate) repairs_left_out: usize,
}

/// An accepted repair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Repair {
    pub(crate) record_id: String,
    pub(crate) policy_id: String,
    /// `rules`, or the model of a provider.
    pub(crate) source: String,
    pub(crate) risk: f64,
    /// Verdicts in the order the gates run; null: the gate did not run.
    pub(crate) verdicts: Vec<(&'static str, Option<bool>)>,
    pub(crate) cautions: Vec<Note>,
    /// Whether all cautions are known: they are looked for in what the rules propose.
    pub(crate) cautions_known: bool,
    /// Operations that the violation did not require.
    pub(crate) collateral_ops: u32,
    /// RFC 6902; null where it is too long.
    pub(crate) patch: Option<Value>,
    pub(crate) revert: Revert,
    /// Objects that must exist beside the document.
    pub(crate) companions: Option<Value>,
    /// Whether secrets are masked in its texts: they cannot be applied as they are.
    pub(crate) has_masks: bool,
    #[serde(serialize_with = "shown")]
    pub(crate) effect: Option<Document>,
}

/// A caution and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    pub(crate) caution: String,
    pub(crate) meaning: String,
}

/// The effect of a patch as text: a diff, or the document.
#[expect(clippy::ref_option, reason = "the signature serde calls")]
fn shown<S: serde::Serializer>(effect: &Option<Document>, serializer: S) -> Result<S::Ok, S::Error> {
    effect.as_ref().map(Document::text).serialize(serializer)
}
