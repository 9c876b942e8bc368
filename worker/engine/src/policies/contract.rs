//! What a policy is: detect, fix, cleared.

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::patch::Patch;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::scope::Scope;
use crate::edit::Editor;
use crate::k8s::{View, names};

/// How serious a finding is, in the words of SARIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A finding that should be repaired.
    Warning,
    /// A finding that must be repaired.
    Error,
}

/// One check of a policy, under the id that scanners give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The scanner's id, e.g. `latest-tag`; becomes the raw policy id of a record.
    pub id: &'static str,
    /// How serious a finding is.
    pub severity: Severity,
    /// What to do about it, one sentence.
    pub remedy: &'static str,
}

/// One violation in one document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Id of the policy.
    pub policy: PolicyId,
    /// Which of its checks (the scanner's id).
    pub check: &'static str,
    /// What is wrong, in the scanner's words.
    pub message: String,
    /// The offending node, or the nearest node that exists when something is missing.
    pub pointer: Pointer,
}

/// What a policy proposes for a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Fix {
    /// A repair.
    Repair {
        /// The smallest patch that clears the violation rightly.
        patch: Patch,
        /// Objects that must exist beside the document.
        companions: Vec<Value>,
        /// What a person should look at; sorted, each once.
        cautions: Vec<Caution>,
    },
    /// A right repair needs a person's knowledge.
    NeedsReview {
        /// What the person must decide, and how.
        reason: String,
    },
    /// The document does not violate the policy (or the policy does not apply to its kind).
    NotApplicable {
        /// Reason, as recorded in the outcome.
        reason: String,
    },
}

impl Fix {
    /// A repair without companions; nothing to do when no operation was made.
    pub fn of(editor: Editor, cautions: impl IntoIterator<Item = Caution>) -> Self {
        Self::with_companions(editor, Vec::new(), cautions)
    }

    /// A repair; nothing to do when neither an operation was made nor a companion is needed.
    pub fn with_companions(
        editor: Editor,
        companions: Vec<Value>,
        cautions: impl IntoIterator<Item = Caution>,
    ) -> Self {
        let patch = editor.finish();
        if patch.is_empty() && companions.is_empty() {
            return Self::NotApplicable { reason: "the document does not violate the policy".to_owned() };
        }
        // A companion lives in the namespace that the document names.
        let namespaces =
            companions.iter().filter_map(|companion| companion.pointer("/metadata/namespace")?.as_str());
        if let Some(illegal) = namespaces.into_iter().find(|namespace| !names::is_dns_label(namespace)) {
            return Self::NeedsReview {
                reason: format!(
                    "no object can be in the namespace {illegal:?}, and the repair needs one; name the namespace"
                ),
            };
        }
        let mut cautions: Vec<Caution> = cautions.into_iter().collect();
        cautions.sort_unstable();
        cautions.dedup();
        Self::Repair { patch, companions, cautions }
    }
}

/// A policy of the catalogue.
pub trait Policy: Sync {
    /// Which one.
    fn id(&self) -> PolicyId;

    /// Its checks, under their scanners' ids. The first is the usual one.
    fn checks(&self) -> &'static [Check];

    /// What a right repair may touch. Everything else is collateral, for every proposer.
    fn scope(&self) -> &'static Scope;

    /// Policies whose findings a right repair of this one may bring along, because it puts a lesser evil in the place of a
    /// greater one.
    fn may_bring(&self) -> &'static [PolicyId] {
        &[]
    }

    /// Every violation in the document.
    fn detect(&self, view: &View<'_>) -> Vec<Finding>;

    /// The repair of all violations of this policy in the document.
    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix;

    /// Why the policy does not hold on a (patched) document; empty when it holds. Unless a policy demands more of a
    /// repair than its detector does, what the detector says.
    fn cleared(&self, view: &View<'_>, rules: &RulesConfig) -> Vec<String> {
        let _ = rules;
        self.detect(view).into_iter().map(|finding| finding.message).collect()
    }
}
