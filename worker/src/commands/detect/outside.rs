//! What real scanners find in the input: every object is laid out for them in a first pass, they are started once for all of
//! it, and in the pass that prints each object is given what they found.

use std::collections::HashMap;
use std::io;

use anyhow::Context as _;
use cli_support::output;
use corpus::{FileScan, Scan, Scanned};
use domain::config::{Context, ScannersConfig};
use domain::policy::{PolicyId, PolicyName};
use domain::scanner::{Scanner, Scanners};
use scanners::{Documents, Report, Tool, Unjudged, Verdicts};
use serde::Serialize;

use super::form::counted;
use crate::findings::OutsideFinding;

/// Objects that are listed as not judged.
const MOST_LISTED: usize = 10_000;

/// Arguments that name scanners.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ToolArgs {
    /// Scanners that judge the input: builtin, kube-linter, kyverno, checkov (several with commas) [default: builtin]
    #[arg(long, value_name = "SCANNER", value_delimiter = ',', value_parser = scanner)]
    with: Vec<Scanner>,
    /// Program of a scanner, e.g. kube-linter=/opt/kube-linter; may be repeated, beats detector.tools [default: on PATH, else
    /// where scripts/scanners puts it]
    #[arg(long, value_name = "SCANNER=PATH", value_parser = program)]
    tool: Vec<(Scanner, String)>,
    /// Folder of the policies that Kyverno applies: of kyverno.io and of policies.kyverno.io; beats `detector.policies_dir`
    #[arg(long, value_name = "DIR")]
    policies_dir: Option<String>,
}

pub(crate) fn scanner(text: &str) -> Result<Scanner, String> {
    Scanner::parse(text.trim()).ok_or_else(|| {
        let known: Vec<&str> = Scanner::ALL.iter().map(|scanner| scanner.as_str()).collect();
        format!("unknown scanner; known are {}", known.join(", "))
    })
}

fn program(text: &str) -> Result<(Scanner, String), String> {
    match text.split_once('=') {
        Some((name, path)) if !path.is_empty() => match scanner(name)? {
            Scanner::Builtin => Err("builtin is not a program".to_owned()),
            scanner => Ok((scanner, path.to_owned())),
        },
        _ => Err("not of the form SCANNER=PATH".to_owned()),
    }
}

impl ToolArgs {
    /// The scanners that were asked for.
    pub(super) fn scanners(&self) -> Scanners {
        if self.with.is_empty() { Scanners::default() } else { self.with.iter().copied().collect() }
    }

    /// Finds the programs, and asks their versions.
    pub(super) fn open(&self, detector: &ScannersConfig) -> anyhow::Result<Vec<Tool>> {
        let mut detector = detector.clone();
        for (scanner, path) in &self.tool {
            detector.tools.set(*scanner, path.clone());
        }
        if let Some(folder) = &self.policies_dir {
            detector.policies_dir.clone_from(folder);
        }
        Ok(Tool::open_all(self.scanners().tools(), &detector)?)
    }
}

/// What scanners found in the input.
#[derive(Debug, Default)]
pub(super) struct Outside {
    tools: Vec<Judged>,
    /// Which documents the objects of a file of a part of the input are; `None`: several of its files have the path.
    files: HashMap<(usize, String), Option<Numbers>>,
    documents: usize,
}

/// The report of a scanner.
#[derive(Debug)]
struct Judged {
    scanner: Scanner,
    version: String,
    report: Report,
}

/// The documents of a file.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    first: usize,
    count: usize,
}

/// What is looked at in a file: objects that are whole.
fn whole(file: &FileScan) -> impl Iterator<Item = (usize, &Scanned)> {
    file.objects.iter().enumerate().filter(|(_, object)| object.fragment.is_none())
}

impl Outside {
    /// Lets the tools judge the whole input.
    /// The parts of an input have no neighbours in each other; `rendered`: each is a folder to itself.
    pub(super) fn scan(
        tools: &[Tool],
        scans: &[Scan<'_>],
        context: Context,
        rendered: bool,
    ) -> anyhow::Result<Self> {
        let mut outside = Self::default();
        if tools.is_empty() {
            return Ok(outside);
        }
        let scratch = "cannot lay out the documents for the scanners";
        let context = if rendered { Context::Folder } else { context };
        let mut documents = Documents::new(context).context(scratch)?;
        for (part, scan) in scans.iter().enumerate() {
            let folder = rendered.then(|| part.to_string());
            scan.files::<_, anyhow::Error>(
                |file| file,
                |file| outside.add(part, &file, folder.as_deref(), &mut documents).context(scratch),
            )?;
        }
        outside.documents = documents.len();
        for tool in tools {
            let report = tool.scan(&documents)?;
            let (scanner, version) = (tool.scanner(), tool.version().to_owned());
            outside.tools.push(Judged { scanner, version, report });
        }
        Ok(outside)
    }

    /// Lays out the objects of a file, in `folder` where that is another one than its own.
    fn add(
        &mut self,
        part: usize,
        file: &FileScan,
        folder: Option<&str>,
        documents: &mut Documents,
    ) -> io::Result<()> {
        let numbers = Numbers { first: documents.len(), count: whole(file).count() };
        if let Some(known) = self.files.get_mut(&(part, file.path.clone())) {
            *known = None;
            return Ok(());
        }
        let own = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = folder.unwrap_or(own);
        for (_, object) in whole(file) {
            let text = object.place.object_text(&file.text, &object.document);
            documents.add(folder, &text, &object.document.value)?;
        }
        self.files.insert((part, file.path.clone()), Some(numbers));
        Ok(())
    }

    /// Keeps the findings of these policies alone.
    pub(super) fn keep(&mut self, policies: &[PolicyId]) {
        for Judged { scanner, report, .. } in &mut self.tools {
            let is_kept =
                |check: &str| scanner.policy_of(check).is_some_and(|policy| policies.contains(&policy));
            report.findings.retain(|finding| is_kept(&finding.check));
        }
    }

    /// Whether a scanner was asked.
    pub(super) fn has_tools(&self) -> bool {
        !self.tools.is_empty()
    }

    fn numbers(&self, part: usize, file: &FileScan) -> Option<Numbers> {
        let numbers = self.files.get(&(part, file.path.clone())).copied().flatten()?;
        (numbers.count == whole(file).count()).then_some(numbers)
    }

    /// What was found in the objects of a file of a part of the input, for each of them.
    pub(super) fn of_file(&self, part: usize, file: &FileScan) -> Vec<Vec<OutsideFinding>> {
        let Some(numbers) = self.numbers(part, file) else { return Vec::new() };
        let mut found = vec![Vec::new(); file.objects.len()];
        for (number, (at, _)) in (numbers.first..).zip(whole(file)) {
            if let Some(of_object) = found.get_mut(at) {
                of_object.extend(self.tools.iter().flat_map(|tool| tool.of_document(number)));
            }
        }
        found
    }

    /// What of a file was not judged, and why. `rendered`: a program rendered it.
    pub(super) fn not_judged(&self, part: usize, file: &FileScan, rendered: bool) -> Vec<NotJudged> {
        if self.tools.is_empty() {
            return Vec::new();
        }
        let place = |object: &Scanned, tool: Scanner, reason: &str, is_failure: bool| NotJudged {
            tool,
            path: file.path.clone(),
            line: (!rendered).then_some(object.place.lines + 1),
            kind: object.document.identity.kind.clone(),
            name: object.document.identity.name.clone(),
            reason: sensitive::mask_text(reason),
            is_failure,
        };
        let Some(numbers) = self.numbers(part, file) else {
            let several = "several files of the input have this path";
            let of_tool = |tool: &Judged| {
                let scanner = tool.scanner;
                whole(file).map(move |(_, object)| place(object, scanner, several, true)).collect::<Vec<_>>()
            };
            return self.tools.iter().flat_map(of_tool).collect();
        };
        let mut all = Vec::new();
        for (number, (_, object)) in (numbers.first..).zip(whole(file)) {
            for tool in &self.tools {
                let reasons = tool.unjudged(number);
                all.extend(reasons.iter().map(|of| place(object, tool.scanner, &of.reason, true)));
                let has_verdict = tool.report.judged.as_ref().is_none_or(|judged| judged.contains(&number));
                if !has_verdict && reasons.is_empty() {
                    all.push(place(object, tool.scanner, "none of its policies applies", false));
                }
            }
        }
        all
    }

    /// A line of each scanner on stderr.
    pub(super) fn say(&self) {
        for Judged { scanner, version, report } in &self.tools {
            let judged = report.judged.as_ref().map_or(self.documents, std::collections::BTreeSet::len);
            let unjudged = self.documents.saturating_sub(judged);
            let unjudged = if unjudged > 0 {
                format!(", {} not judged", counted(unjudged as u64, "object"))
            } else {
                String::new()
            };
            let found = counted(report.findings.len() as u64, "finding");
            output::say(&format!(
                "{scanner} {version}: {found} in {}{unjudged}",
                counted(self.documents as u64, "object")
            ));
        }
    }

    /// The scanners for JSON, with what they did not judge.
    pub(super) fn summaries(&self, not_judged: &[NotJudged]) -> Vec<ToolSummary> {
        let of = |tool: &Judged| ToolSummary {
            tool: tool.scanner,
            version: tool.version.clone(),
            documents: self.documents,
            judged: tool.report.judged.as_ref().map(std::collections::BTreeSet::len),
            verdicts: tool.report.verdicts,
            not_judged: not_judged.iter().filter(|of| of.tool == tool.scanner).cloned().collect(),
        };
        self.tools.iter().map(of).collect()
    }

    /// Name and version of each scanner, and the ids of the checks that found something.
    pub(super) fn drivers(&self) -> Vec<(Scanner, &str, Vec<&str>)> {
        self.tools
            .iter()
            .map(|tool| {
                let mut checks: Vec<&str> =
                    tool.report.findings.iter().map(|finding| finding.check.as_str()).collect();
                checks.sort_unstable();
                checks.dedup();
                (tool.scanner, tool.version.as_str(), checks)
            })
            .collect()
    }
}

impl Judged {
    fn of_document(&self, number: usize) -> impl Iterator<Item = OutsideFinding> + '_ {
        let findings = &self.report.findings;
        let first = findings.partition_point(|finding| finding.document < number);
        findings.iter().skip(first).take_while(move |finding| finding.document == number).map(|finding| {
            let policy = self.scanner.policy_of(&finding.check);
            OutsideFinding {
                tool: self.scanner,
                policy: policy.map_or_else(|| PolicyName::Unknown(finding.check.clone()), PolicyName::Known),
                check: finding.check.clone(),
                rule: finding.rule.clone(),
                message: finding.message.clone(),
                severe: finding.severe,
            }
        })
    }

    fn unjudged(&self, number: usize) -> &[Unjudged] {
        let all = &self.report.unjudged;
        let first = all.partition_point(|unjudged| unjudged.document < number);
        let rest = all.get(first..).unwrap_or_default();
        let count = rest.partition_point(|unjudged| unjudged.document == number);
        rest.get(..count).unwrap_or_default()
    }
}

/// An object that a scanner did not judge.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NotJudged {
    #[serde(skip)]
    pub(super) tool: Scanner,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    kind: String,
    name: String,
    reason: String,
    /// Whether the scanner could not; else none of its policies is about the object.
    #[serde(skip)]
    is_failure: bool,
}

/// Collects what was not judged, and says on stderr what scanners could not judge.
pub(super) fn collect(all: &mut Vec<NotJudged>, of_file: Vec<NotJudged>) {
    for not_judged in of_file {
        if not_judged.is_failure {
            let NotJudged { tool, path, line, reason, .. } = &not_judged;
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            output::say(&format!("{path}{line}: not judged by {tool}: {reason}"));
        }
        if all.len() < MOST_LISTED {
            all.push(not_judged);
        }
    }
}

/// A scanner and what it did, for JSON.
#[derive(Debug, Serialize)]
pub(super) struct ToolSummary {
    tool: Scanner,
    version: String,
    /// Objects that it was given.
    documents: usize,
    /// Objects about which it gave a verdict; null: it does not say.
    judged: Option<usize>,
    /// Verdicts by sort; null: it does not say.
    verdicts: Option<Verdicts>,
    /// What it did not judge, the first 10,000.
    not_judged: Vec<NotJudged>,
}
