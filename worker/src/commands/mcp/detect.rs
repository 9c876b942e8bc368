//! The tool `detect`.

use corpus::{Positions, Scan};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Call, Object};
use super::input::Manifests;
use super::work::Work;
use crate::commands::detect::{counted, remarks, text_line};
use crate::findings::locate;

/// The tool.
pub(super) struct Detect;

/// What it is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// YAML or JSON text of one or more objects; this or `path`
    #[serde(default)]
    text: Option<String>,
    /// A file below the root of this server, or a folder, which is searched to any depth
    #[serde(default)]
    path: Option<String>,
    /// Look for these policies only (ids or aliases)
    #[serde(default)]
    policies: Vec<String>,
}

/// What it gives back.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Detected {
    /// Each with `policy`, `check`, `severity` (error or warning), `message`, `path`, `line`, `column`, `end_line`,
    /// `end_column`, `document` (its number in the file, from 0), `pointer` (RFC 6901, in that document), `kind`, `namespace`,
    /// `name`
    findings: Vec<Object>,
    /// How many findings are beyond the most that are given back
    findings_beyond: u64,
    /// What is said of files besides their findings
    remarks: Vec<RemarkRow>,
    /// Files that were read
    files: u64,
    /// Objects in them
    objects: u64,
}

/// What is said of a file besides its findings.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RemarkRow {
    /// `left_alone`, `excepted` (a finding, by an annotation) or `unreadable`
    about: &'static str,
    path: String,
    /// From 1; null: the whole file
    line: Option<usize>,
    message: String,
}

/// Most findings that are given back, and most remarks.
const MOST: usize = 2_000;

/// Most lines of the short text.
const MOST_LINES: usize = 50;

impl Work for Detect {
    const NAME: &str = "detect";
    const DESCRIPTION: &str = "Find violations of security and reliability policies in Kubernetes manifests. Gives back each \
        finding with its policy, severity, message and place.";
    type Arguments = Arguments;
    type Output = Detected;

    fn work(arguments: Arguments, call: &Call) -> anyhow::Result<(Detected, String)> {
        let Arguments { text, path, policies } = arguments;
        let selected = call.policies(&policies)?;
        let input = Manifests { text, path }.read(call)?;
        let config = &call.shared.config;
        let scan = Scan::survey(&input.files, config, selected, config.context, Positions::Recorded)?;
        let (mut detected, mut lines) = (Detected::default(), Vec::new());
        scan.files::<_, anyhow::Error>(
            |file| {
                let located = locate(&file, &[]);
                (file, located)
            },
            |(file, located)| {
                call.stop.check()?;
                detected.files += 1;
                detected.objects += file.objects.len() as u64;
                let room = MOST.saturating_sub(detected.remarks.len());
                detected.remarks.extend(remarks(&file).into_iter().take(room).map(|remark| RemarkRow {
                    about: remark.about.word(),
                    path: remark.path,
                    line: remark.line,
                    message: remark.message,
                }));
                for found in located {
                    if detected.findings.len() >= MOST {
                        detected.findings_beyond += 1;
                        continue;
                    }
                    if lines.len() < MOST_LINES {
                        lines.push(text_line(&found));
                    }
                    if let Value::Object(row) = serde_json::to_value(&found)? {
                        detected.findings.push(row);
                    }
                }
                Ok(())
            },
        )?;
        let text = detected.text(&lines);
        Ok((detected, text))
    }
}

impl Detected {
    fn text(&self, lines: &[String]) -> String {
        let findings = self.findings.len() as u64 + self.findings_beyond;
        let beyond = findings.saturating_sub(lines.len() as u64);
        let beyond = if beyond > 0 { format!("and {beyond} more\n") } else { String::new() };
        let unreadable: Vec<String> = self
            .remarks
            .iter()
            .filter(|remark| remark.about == "unreadable")
            .take(MOST_LINES)
            .map(|remark| format!("{}: cannot be read: {}\n", remark.path, remark.message))
            .collect();
        let (objects, files) = (counted(self.objects, "object"), counted(self.files, "file"));
        let lines = lines.concat();
        format!(
            "{} in {objects} of {files}\n{lines}{beyond}{}",
            counted(findings, "finding"),
            unreadable.concat()
        )
    }
}
