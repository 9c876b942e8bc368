//! `worker detect PATH…`: finds the violations in manifests.
//!
//! Exit 0: no findings. 1: findings. 2: nothing could be read. A document that cannot be read is reported on stderr
//! with file and line, counted, and changes the exit code only if no other document could be read.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use cli_support::failure::WithHint;
use cli_support::output::{self, Align, Table};
use cli_support::{Exit, escape};
use domain::config::RunConfig;
use domain::outcome::ErrorKind;
use domain::policy::PolicyId;
use domain::published::Detection;

use engine::exceptions::Exception;

use super::catalogue::CatalogueArgs;
use super::context::ContextArg;
use super::settings::Settings;
use crate::findings::{Located, locate};
use crate::sarif::SarifWriter;
use corpus::{FileScan, Inputs, Scan, rows};

/// Arguments of `worker detect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders (searched to any depth), YAML or JSON files, tar and zip archives; - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// How findings are written to stdout
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    /// Look for this policy only (id or alias; may be repeated, or several with commas)
    #[arg(short, long, value_name = "ID", value_delimiter = ',', value_parser = policy)]
    policy: Vec<PolicyId>,
    #[command(flatten)]
    wanted: CatalogueArgs,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    settings: Settings,
}

/// Output format of findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table on a terminal, a line for each finding elsewhere
    #[default]
    Text,
    /// One JSON array
    Json,
    /// A JSON object a line
    Jsonl,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Records in the shape of detections.json
    Detections,
}

/// Parses a policy id.
pub(crate) fn policy(text: &str) -> Result<PolicyId, String> {
    PolicyId::find(text).ok_or_else(|| {
        let known: Vec<&str> = PolicyId::ALL.iter().map(|id| id.as_str()).collect();
        format!("unknown policy; known are {}", known.join(", "))
    })
}

/// The policies named by the user, or the configured ones.
pub(crate) fn selected(named: &[PolicyId], config: &RunConfig) -> Vec<PolicyId> {
    if named.is_empty() {
        return config.detector.policies().to_vec();
    }
    PolicyId::ALL.iter().copied().filter(|id| named.contains(id)).collect()
}

/// Detects violations and prints them.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.wanted.applied(args.settings.load()?);
    let limits = config.limits;
    let selected = selected(&args.policy, &config);
    let inputs = Inputs::open(&args.paths, &limits)?;
    let scan = Scan::survey(&inputs, &config, selected.clone(), args.context.of(&config))?;
    let mut writer = Writer::begin(args.output, &selected)?;
    let mut tally = Tally::default();
    let located = !matches!(args.output, Form::Detections);
    scan.files::<_, anyhow::Error>(
        |file| {
            let found = if located { locate(&file, &limits) } else { Vec::new() };
            (file, found)
        },
        |(file, found)| {
            tally.take(&file);
            writer.file(&file, &found)?;
            Ok(())
        },
    )?;
    writer.end(&tally.unread)?;
    tally.close()
}

/// Counts for the summary line and the exit code.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    files: u64,
    objects: u64,
    findings: u64,
    /// Findings that annotations except.
    excepted: u64,
    /// Documents in which nothing is looked for.
    fragments: u64,
    /// Documents with placeholders of a template that was never rendered, whether or not they can be read.
    unrendered: u64,
    /// Unreadable documents: path, line, message.
    pub(crate) unread: Vec<(String, Option<usize>, String)>,
    unread_beyond: u64,
}

/// Most unreadable documents that are kept for the end of the output.
const MOST_UNREAD: usize = 10_000;

impl Tally {
    /// Counts a file and reports its unreadable documents.
    pub(crate) fn take(&mut self, file: &FileScan) {
        self.files += 1;
        self.objects += file.objects.len() as u64;
        self.findings += file.objects.iter().map(|object| object.findings.len() as u64).sum::<u64>();
        for object in &file.objects {
            self.unrendered += u64::from(object.is_unrendered);
            if let Some(reason) = &object.fragment {
                self.fragments += 1;
                output::say(&format!("{}:{}: left alone: {reason}", file.path, object.place.lines + 1));
            }
            for (finding, exception) in &object.excepted {
                self.excepted += 1;
                let Exception { annotation, reason } = exception;
                output::say(&format!(
                    "{}:{}: not counted: {} (annotation {annotation}: {reason:?})",
                    file.path,
                    object.place.lines + 1,
                    finding.check
                ));
            }
        }
        for (place, reason) in &file.skipped {
            self.fragments += 1;
            output::say(&format!("{}:{}: left alone: {reason}", file.path, place.lines + 1));
        }
        for trouble in &file.troubles {
            self.unrendered += u64::from(trouble.problem.kind == ErrorKind::UnrenderedTemplate);
            let line = trouble.line.map(|line| format!(":{line}")).unwrap_or_default();
            // A parser may quote the text.
            let message = sensitive::mask_text(&trouble.problem.message);
            output::say(&format!("{}{line}: {message}", file.path));
            if self.unread.len() < MOST_UNREAD {
                self.unread.push((file.path.clone(), trouble.line, message));
            } else {
                self.unread_beyond += 1;
            }
        }
    }

    /// Fails when nothing was read.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.objects > 0 || self.fragments > 0 {
            return Ok(());
        }
        let unread = self.unread.len() as u64 + self.unread_beyond;
        let what = if unread > 0 {
            anyhow::anyhow!("nothing could be read: {unread} of {unread} documents are not valid")
        } else {
            anyhow::anyhow!("found no manifest in {} files", self.files)
        };
        Err(what).hint("name folders or files that hold .yaml, .yml or .json manifests")
    }

    /// Writes the summary line to stderr; returns the exit code.
    fn close(&self) -> anyhow::Result<Exit> {
        self.check()?;
        let unread = self.unread.len() as u64 + self.unread_beyond;
        let unreadable = if unread > 0 { format!(", {unread} unreadable") } else { String::new() };
        let excepted = if self.excepted > 0 {
            format!(", {} excepted by annotations", self.excepted)
        } else {
            String::new()
        };
        let some = |number: u64, what: &str| {
            if number > 0 { format!(", {} {what}", counted(number, "document")) } else { String::new() }
        };
        let fragments = some(self.fragments, "left alone");
        let unrendered = some(self.unrendered, "with unrendered placeholders");
        let line = format!(
            "{} in {} of {}{excepted}{fragments}{unrendered}{unreadable}",
            counted(self.findings, "finding"),
            counted(self.objects, "object"),
            counted(self.files, "file")
        );
        output::say(&line);
        Ok(Exit::found(self.findings > 0))
    }
}

/// A number with its noun.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Writes findings to stdout.
struct Writer {
    kind: Kind,
    /// Findings written so far.
    written: u64,
}

enum Kind {
    Table(Table),
    Lines(BufWriter<StdoutLock<'static>>),
    Json(BufWriter<StdoutLock<'static>>),
    Jsonl(BufWriter<StdoutLock<'static>>),
    Sarif(Box<SarifWriter<BufWriter<StdoutLock<'static>>>>),
    Detections(BufWriter<StdoutLock<'static>>),
}

impl Writer {
    fn begin(form: Form, selected: &[PolicyId]) -> io::Result<Self> {
        let out = || BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let kind = match form {
            Form::Text if io::stdout().is_terminal() => Kind::Table(Table::new([
                ("place", Align::Left),
                ("object", Align::Left),
                ("check", Align::Left),
                ("message", Align::Left),
            ])),
            Form::Text => Kind::Lines(out()),
            Form::Json => Kind::Json(out()),
            Form::Jsonl => Kind::Jsonl(out()),
            Form::Sarif => Kind::Sarif(Box::new(SarifWriter::begin(out(), selected)?)),
            Form::Detections => Kind::Detections(out()),
        };
        Ok(Self { kind, written: 0 })
    }

    fn file(&mut self, file: &FileScan, found: &[Located]) -> anyhow::Result<()> {
        if let Kind::Detections(out) = &mut self.kind {
            for row in rows(file) {
                let Some(object) = file.objects.get(row.at) else { continue };
                let record = Detection {
                    id: format!("{:03}", self.written + 1),
                    manifest_path: Some(file.path.clone()),
                    manifest_yaml: Some(object.place.object_text(&file.text, &object.document)),
                    policy_id: row.rule.to_owned(),
                    violation_text: sensitive::mask_text(row.message),
                };
                element(out, self.written, &escape::json(&serde_json::to_string(&record)?))?;
                self.written += 1;
            }
            return Ok(());
        }
        for located in found {
            match &mut self.kind {
                Kind::Table(table) => table.push([
                    format!("{}:{}:{}", located.path, located.region.line, located.region.column),
                    object(located),
                    located.check.to_owned(),
                    located.message.clone(),
                ]),
                Kind::Lines(out) => out.write_all(line(located).as_bytes())?,
                Kind::Json(out) => {
                    element(out, self.written, &escape::json(&serde_json::to_string(located)?))?;
                }
                Kind::Jsonl(out) => writeln!(out, "{}", escape::json(&serde_json::to_string(located)?))?,
                Kind::Sarif(writer) => writer.result(located)?,
                Kind::Detections(_) => {}
            }
            self.written += 1;
        }
        Ok(())
    }

    fn end(self, unread: &[(String, Option<usize>, String)]) -> io::Result<()> {
        match self.kind {
            Kind::Table(table) if table.is_empty() => Ok(()),
            Kind::Table(table) => output::print(&table.text(output::stdout_width())),
            Kind::Lines(mut out) | Kind::Jsonl(mut out) => out.flush(),
            Kind::Json(mut out) | Kind::Detections(mut out) => {
                out.write_all(if self.written == 0 { b"[]\n" } else { b"\n]\n" })?;
                out.flush()
            }
            Kind::Sarif(writer) => writer.end(unread)?.flush(),
        }
    }
}

fn element(out: &mut impl Write, before: u64, text: &str) -> io::Result<()> {
    out.write_all(if before == 0 { b"[\n" } else { b",\n" })?;
    out.write_all(text.as_bytes())
}

fn object(located: &Located) -> String {
    let name = if located.name.is_empty() { "(unnamed)" } else { &located.name };
    let namespace =
        if located.namespace.is_empty() { String::new() } else { format!("{}/", located.namespace) };
    format!("{} {namespace}{name}", located.kind)
}

/// A finding in the format of compiler messages.
fn line(located: &Located) -> String {
    let Located { path, region, severity, check, message, .. } = located;
    let (line, column) = (region.line, region.column);
    let text = format!("{path}:{line}:{column}: {severity}: {message} [{check}] {}", object(located));
    format!("{}\n", escape::one_line(&text))
}
