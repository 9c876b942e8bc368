//! Which records of a replay differ from the run, and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cli_support::escape::one_line;
use domain::api_server::ServerAnswer;
use domain::outcome::{Gate, Outcome};
use results::fingerprint::{Fingerprint, RowDifference, compare, fingerprint};
use results::scan::{Part, ScanError};
use results::schema::{COMPANIONS, PATCH, TOOL_RESCANS};
use serde_json::{Value, json};

use super::rerun::NO_VERDICT;
use crate::embedded::NOT_RECORDED;

/// Examples of each cause that are kept.
const EXAMPLES: usize = 3;

/// Characters of a message that are shown.
const MESSAGE_CHARS: usize = 160;

/// Why a record differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// One of the two has no such row.
    NoRow,
    /// A question of it has no recorded answer.
    NoAnswer,
    /// A document of it has no recorded verdict of the API server.
    NoVerdict,
    /// Another repair was proposed: another answer, or another program.
    Repair,
    /// A gate judges otherwise.
    Gate(Gate),
    /// Something else of the outcome.
    Other,
}

/// The rows of a run beside those of its replay.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Fingerprint of the run.
    pub(crate) recorded: Fingerprint,
    /// Fingerprint of the replay.
    pub(crate) replayed: Fingerprint,
    /// Records compared.
    pub(crate) records: u64,
    /// Records that differ by cause, with the first examples.
    causes: BTreeMap<Cause, (u64, Vec<String>)>,
    /// Scanners whose verdicts were taken as recorded.
    tools: Vec<&'static str>,
}

impl Comparison {
    /// Compares the parts of a run with those of its replay; `tools`: the verdicts of scanners are taken as recorded. Blocks.
    pub(crate) fn of(recorded: Vec<Part>, replayed: Vec<Part>, tools: bool) -> Result<Self, ScanError> {
        let columns = TOOL_RESCANS.iter().filter(|_| tools);
        let without: Vec<&str> = columns.clone().flat_map(|(_, cleared, new)| [*cleared, *new]).collect();
        let mut comparison = Self {
            recorded: fingerprint(recorded.clone())?,
            replayed: fingerprint(replayed.clone())?,
            records: 0,
            causes: BTreeMap::new(),
            tools: columns.map(|(tool, ..)| tool.as_str()).collect(),
        };
        let causes = &mut comparison.causes;
        let compared = compare(recorded, replayed, &without, &mut |difference| {
            let cause = cause(&difference);
            let (count, examples): &mut (u64, Vec<String>) = causes.entry(cause).or_default();
            *count += 1;
            if examples.len() < EXAMPLES {
                examples.push(example(&difference, cause));
            }
        })?;
        comparison.records = compared;
        Ok(comparison)
    }

    /// Whether the replay came to the same outcomes.
    pub(crate) fn is_same(&self) -> bool {
        self.differing() == 0 && (self.recorded == self.replayed || !self.tools.is_empty())
    }

    /// Records that differ.
    pub(crate) fn differing(&self) -> u64 {
        self.causes.values().map(|(count, _)| count).sum()
    }

    /// Records with a question without a recorded answer.
    pub(crate) fn unanswered(&self) -> u64 {
        self.causes.get(&Cause::NoAnswer).map_or(0, |(count, _)| *count)
    }

    /// What was found, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if self.is_same() {
            let _ = writeln!(text, "same fingerprint: {}", self.recorded);
        } else {
            let _ = writeln!(
                text,
                "another fingerprint: {} was recorded, {} replayed",
                self.recorded, self.replayed
            );
            let _ = writeln!(text, "{} of {} records differ:", self.differing(), self.records);
        }
        for (cause, (count, examples)) in &self.causes {
            let _ = writeln!(text, "  {count:>7} {}", cause.words());
            for example in examples {
                let _ = writeln!(text, "          {example}");
            }
        }
        if !self.tools.is_empty() {
            text.push_str("  the verdicts of scanners are taken as recorded, since no scanner is asked\n");
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let causes = self.causes.iter().map(|(cause, (count, examples))| {
            json!({"cause": cause.key(), "records": count, "examples": examples})
        });
        json!({
            "same": self.is_same(),
            "recorded": self.recorded.to_string(),
            "replayed": self.replayed.to_string(),
            "records": self.records,
            "differing": self.differing(),
            "causes": causes.collect::<Vec<_>>(),
        })
    }
}

impl Cause {
    fn key(self) -> String {
        match self {
            Self::NoRow => "no_row".to_owned(),
            Self::NoAnswer => "answer_missing".to_owned(),
            Self::NoVerdict => "verdict_missing".to_owned(),
            Self::Repair => "repair".to_owned(),
            Self::Gate(gate) => format!("gate_{gate}"),
            Self::Other => "other".to_owned(),
        }
    }

    fn words(self) -> String {
        match self {
            Self::NoRow => "are in one of the two alone".to_owned(),
            Self::NoAnswer => "have a question without a recorded answer".to_owned(),
            Self::NoVerdict => "have a document without a recorded verdict of the API server".to_owned(),
            Self::Repair => "were given another repair".to_owned(),
            Self::Gate(gate) => format!("are judged otherwise by the gate {gate}"),
            Self::Other => "differ otherwise".to_owned(),
        }
    }
}

fn cause(difference: &RowDifference) -> Cause {
    let (Some(recorded), Some(replayed)) = (&difference.first, &difference.second) else {
        return Cause::NoRow;
    };
    let says = |words: &str| said(replayed).any(|text| text.contains(words));
    if says(NOT_RECORDED) {
        Cause::NoAnswer
    } else if says(NO_VERDICT) {
        Cause::NoVerdict
    } else if difference.columns.iter().any(|column| [PATCH, COMPANIONS].contains(column)) {
        Cause::Repair
    } else {
        differing_gate(recorded, replayed).map_or(Cause::Other, Cause::Gate)
    }
}

/// All that a row says of its record in words.
fn said(outcome: &Outcome) -> impl Iterator<Item = &str> {
    let answers = outcome.server.iter().flat_map(|server| [&server.before, &server.after]);
    let causes = answers.flatten().flat_map(|answer: &ServerAnswer| &answer.causes);
    let errors = outcome.attempt_errors.iter().chain(&outcome.errors).map(String::as_str);
    errors.chain(causes.map(|cause| cause.message.as_str()))
}

/// The first gate whose verdict or errors are others.
fn differing_gate(recorded: &Outcome, replayed: &Outcome) -> Option<Gate> {
    Gate::ALL.iter().copied().find(|gate| {
        let (one, other) = (recorded.gates.of(*gate), replayed.gates.of(*gate));
        one.verdict != other.verdict || one.errors != other.errors
    })
}

fn example(difference: &RowDifference, cause: Cause) -> String {
    let (Some(recorded), Some(replayed)) = (&difference.first, &difference.second) else {
        let id =
            difference.first.as_ref().or(difference.second.as_ref()).map(|row| row.record_id.to_string());
        let place = if difference.first.is_some() { "the run" } else { "the replay" };
        return format!("record {} is in {place} alone", id.unwrap_or_default());
    };
    let what = match cause {
        Cause::Gate(gate) => {
            let (one, other) = (recorded.gates.of(gate), replayed.gates.of(gate));
            let error = other.errors.iter().chain(&one.errors).next().map(|error| format!(": {error}"));
            format!("{} before, now {}{}", one.verdict, other.verdict, error.unwrap_or_default())
        }
        Cause::Other => difference.columns.join(", "),
        _ => format!("{} before, now {}", recorded.status, replayed.status),
    };
    let what: String = what.chars().take(MESSAGE_CHARS).collect();
    format!("record {} ({}): {}", recorded.record_id, recorded.policy_id, one_line(&what))
}
