//! `worker propose --protocol jsonl|folder`: the rules as a program that another worker asks, over the protocols of the crate
//! `proposers`.
//!
//! Exit 0: every question was answered, with a patch or the reason why there is none. 2: a question cannot be read.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use cli_support::Exit;
use domain::config::RunConfig;
use domain::policy::PolicyName;
use domain::record::Neighbours;
use engine::document::Document;
use engine::propose::Decision;
use engine::verify::apply;
use engine::yaml::to_yaml;
use proposers::{Answer, Question};

use crate::repair::propose;

/// Bytes of a question.
const QUESTION_BYTES: u64 = 256 << 20;

/// How questions come and answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// A question a line on standard input, an answer a line on standard output
    Jsonl,
    /// record.json and manifest.yaml in the working directory, of which the manifest is edited
    Folder,
}

/// Answers until there is no further question.
pub(crate) fn run(protocol: Protocol, config: &RunConfig) -> anyhow::Result<Exit> {
    match protocol {
        Protocol::Jsonl => lines(config)?,
        Protocol::Folder => folder(Path::new("."), config)?,
    }
    Ok(Exit::Fine)
}

fn lines(config: &RunConfig) -> anyhow::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    for number in 1_u64.. {
        let mut line = String::new();
        input.by_ref().take(QUESTION_BYTES).read_line(&mut line).context("cannot read standard input")?;
        if line.is_empty() {
            break;
        }
        let question: Question = serde_json::from_str(&line)
            .with_context(|| format!("line {number} of standard input is not a question"))?;
        let answer = serde_json::to_string(&answer(&question, config))?;
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(question: &Question, config: &RunConfig) -> Answer {
    let none = |why: String| Answer { explanation: Some(why), ..Answer::none(&question.id) };
    let document = match Document::parse(&question.manifest_yaml, &config.limits) {
        Ok(document) => document,
        Err(error) => return none(error.to_string()),
    };
    let policy = PolicyName::normalise(&question.policy_id);
    match propose(&document, &Neighbours::Unknown, &policy, config) {
        Decision::Repair(proposal) => Answer { patch: Some(proposal.patch), ..Answer::none(&question.id) },
        Decision::NeedsReview { reason } | Decision::NotApplicable { reason } => none(reason),
        Decision::NoRule => none("no rule exists for the policy".to_owned()),
    }
}

fn folder(folder: &Path, config: &RunConfig) -> anyhow::Result<()> {
    let (record, manifest) = (folder.join("record.json"), folder.join("manifest.yaml"));
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let question: Question = serde_json::from_str(&read(&record)?)
        .with_context(|| format!("{} is not a question", record.display()))?;
    let question = Question { manifest_yaml: read(&manifest)?, ..question };
    let Answer { patch: Some(patch), .. } = answer(&question, config) else { return Ok(()) };
    let document = Document::parse(&question.manifest_yaml, &config.limits)?;
    let patched = apply(&document.value, &patch)?;
    std::fs::write(&manifest, to_yaml(&patched))
        .with_context(|| format!("cannot write {}", manifest.display()))
}
