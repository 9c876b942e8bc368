//! What a scanner says of documents.

use std::collections::BTreeSet;

use serde::Serialize;

/// What a scanner said of documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What it found, in the order of the documents, each once.
    pub findings: Vec<Finding>,
    /// What it could not judge: not judged is not passed.
    pub unjudged: Vec<Unjudged>,
    /// How many verdicts of each sort it gave; `None`: it does not say.
    pub verdicts: Option<Verdicts>,
    /// Documents about which it gave a verdict; `None`: it does not say.
    pub judged: Option<BTreeSet<usize>>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Number of the document.
    pub document: usize,
    /// The scanner's id of the check.
    pub check: String,
    /// The rule in the check; empty where checks have none.
    pub rule: String,
    /// Its message.
    pub message: String,
    /// Whether the scanner calls it severe.
    pub severe: bool,
}

/// A document, or a check of a document, that was not judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unjudged {
    /// Number of the document.
    pub document: usize,
    /// Why.
    pub reason: String,
}

/// Verdicts by sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// The document meets the rule.
    pub passed: u64,
    /// It does not.
    pub failed: u64,
    /// It does not, and the rule only warns.
    pub warned: u64,
    /// The rule could not be evaluated.
    pub errors: u64,
    /// The rule does not apply.
    pub skipped: u64,
}

impl Report {
    /// The report with its parts in order.
    pub(crate) fn sorted(mut self) -> Self {
        self.findings.sort_unstable();
        self.findings.dedup();
        self.unjudged.sort_unstable();
        self.unjudged.dedup();
        self
    }
}
