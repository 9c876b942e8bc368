//! `worker detect PATH…`: finds the violations in manifests.
//!
//! Exit 0: no findings. 1: findings. 2: nothing could be read. A document that cannot be read is reported on stderr
//! with file and line, counted, and changes the exit code only if no other document could be read. A scanner that cannot
//! be started, or fails, is a failure of the command: 2.

mod baseline;
mod fail_on;
mod form;
mod outside;
mod parts;
mod remarks;
mod text;
mod writer;

use cli_support::Exit;
use cli_support::failure::WithHint;
use cli_support::output;
use domain::policy::PolicyId;
use domain::scanner::Scanner;

use super::builds::BuildArgs;
use super::catalogue::CatalogueArgs;
pub(crate) use super::catalogue::{policy, selected};
use super::context::ContextArg;
use super::exclude::ExcludeArg;
use super::repository::{Repository, RepositoryArgs};
use super::settings::Settings;
use crate::findings::locate;
use baseline::{Baseline, FailureArgs};
use corpus::{FileScan, Positions, Scan};
pub(in crate::commands) use fail_on::FailOn;
use form::Form;
pub(crate) use form::counted;
pub(crate) use outside::scanner;
use outside::{NotJudged, Outside, ToolArgs};
use parts::{Named, Part, parts};
use remarks::is_object;
pub(in crate::commands) use remarks::{About, Remark, remarks};
pub(in crate::commands) use text::line as text_line;
use writer::Writer;
pub(crate) use writer::element;

/// Arguments of `worker detect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders (searched to any depth), YAML or JSON files, tar and zip archives; - for standard input
    #[arg(required_unless_present_any = ["helm", "kustomize"], value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    builds: BuildArgs,
    /// How findings are written to stdout
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    /// Look for this policy only (id or alias; may be repeated, or several with commas)
    #[arg(short, long, value_name = "ID", value_delimiter = ',', value_parser = policy)]
    policy: Vec<PolicyId>,
    #[command(flatten)]
    wanted: CatalogueArgs,
    #[command(flatten)]
    tools: ToolArgs,
    #[command(flatten)]
    failure: FailureArgs,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    settings: Settings,
}

/// Detects violations and prints them.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (config, scanners) = args.settings.with_scanners()?;
    let rendered = !args.builds.is_empty();
    let folders = args.builds.folders();
    let repository = args.repository.load(if rendered { &folders } else { &args.paths })?;
    let config = repository.applied(config, args.wanted, &args.settings)?;
    let named = repository.policies(&args.policy);
    let wanted = selected(&named, &config);
    let tools = args.tools.open(&scanners)?;
    let context = args.context.of(&config);
    let input = Named { paths: &args.paths, builds: &args.builds, exclude: &args.exclude };
    let parts = parts(input, &repository, (&config, &scanners), context)?;
    let is_located = !matches!(args.output, Form::Detections);
    let positions = if is_located { Positions::Recorded } else { Positions::Left };
    let survey = |part| Part::survey(part, &config, &wanted, positions);
    let scans = parts.iter().map(survey).collect::<Result<Vec<_>, _>>()?;
    let mut outside = Outside::scan(&tools, &scans, context, rendered)?;
    if !named.is_empty() {
        outside.keep(&wanted);
    }
    let has_builtin = args.tools.scanners().contains(Scanner::Builtin);
    let mut writer = Writer::begin(args.output, has_builtin.then_some(&wanted[..]), &outside)?;
    let mut found = Found {
        tally: Tally::default(),
        not_judged: Vec::new(),
        baseline: args.baseline(&repository)?,
        is_located,
    };
    let look = Look { outside: &outside, repository: &repository, has_builtin };
    for (number, (part, scan)) in parts.iter().zip(&scans).enumerate() {
        found.part((number, part), scan, look, &mut writer)?;
    }
    outside.say();
    let Found { mut tally, not_judged, baseline, .. } = found;
    writer.end(&tally.unread, &outside, &not_judged)?;
    tally.known = baseline.map_or(0, |baseline| baseline.left_out());
    // Records have no severity.
    tally.close(if is_located { args.failure.fail_on(&repository) } else { FailOn::default() })
}

/// How every file is looked at.
#[derive(Clone, Copy)]
struct Look<'a> {
    outside: &'a Outside,
    repository: &'a Repository,
    /// Whether the built-in detector is asked.
    has_builtin: bool,
}

/// What was found so far.
struct Found {
    tally: Tally,
    not_judged: Vec<NotJudged>,
    baseline: Option<Baseline>,
    /// Whether findings have places.
    is_located: bool,
}

impl Found {
    /// Writes the findings of a part of the input.
    fn part(
        &mut self,
        (number, part): (usize, &Part),
        scan: &Scan<'_>,
        look: Look<'_>,
        writer: &mut Writer,
    ) -> anyhow::Result<()> {
        let Look { outside, repository, has_builtin } = look;
        let (is_located, rendered) = (self.is_located, part.is_rendered());
        scan.files::<_, anyhow::Error>(
            |mut file| {
                if !has_builtin {
                    forget(&mut file);
                }
                let mut found = outside.of_file(number, &file);
                repository.suppressions.apply(&mut file);
                let suppressed = repository.suppressions.apply_outside(&file, &mut found);
                let located = if is_located { locate(&file, &found) } else { Vec::new() };
                (file, found, part.placed(located), suppressed)
            },
            |(file, found, located, suppressed)| {
                let tally = &mut self.tally;
                if rendered {
                    tally.take_rendered(&file);
                } else {
                    tally.take(&file);
                }
                for remark in suppressed {
                    tally.note(if rendered { Remark { line: None, ..remark } } else { remark });
                }
                tally.findings += found.iter().map(|object| object.len() as u64).sum::<u64>();
                let located = match &mut self.baseline {
                    Some(baseline) => baseline.new_ones(located),
                    None => located,
                };
                tally.errors += located.iter().filter(|found| found.severity == "error").count() as u64;
                outside::collect(&mut self.not_judged, outside.not_judged(number, &file, rendered));
                writer.file(&file, located, &found)
            },
        )
    }
}

impl Args {
    /// The findings that are known.
    fn baseline(&self, repository: &Repository) -> anyhow::Result<Option<Baseline>> {
        if self.output == Form::Detections {
            anyhow::ensure!(
                self.failure.is_default(),
                "--output detections has every finding: leave out --baseline and --fail-on"
            );
            return Ok(None);
        }
        self.failure.open(repository)
    }
}

/// Takes away what the built-in detector found.
fn forget(file: &mut FileScan) {
    for object in &mut file.objects {
        object.findings.clear();
        object.excepted.clear();
    }
}

/// Counts for the summary line and the exit code.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    files: u64,
    objects: u64,
    findings: u64,
    /// Of the findings, the errors that are not known.
    errors: u64,
    /// Of the findings, those that the baseline holds.
    known: u64,
    /// Findings that annotations except.
    excepted: u64,
    /// Findings that the settings of the repository suppress.
    suppressed: u64,
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
    /// Counts a file, and says on stderr what is to be said of it besides its findings.
    pub(crate) fn take(&mut self, file: &FileScan) {
        self.count(file);
        for remark in remarks(file) {
            self.note(remark);
        }
    }

    fn count(&mut self, file: &FileScan) {
        self.files += 1;
        self.objects += file.objects.iter().filter(|object| is_object(object)).count() as u64;
        self.findings += file.objects.iter().map(|object| object.findings.len() as u64).sum::<u64>();
        self.unrendered += file.objects.iter().filter(|object| object.is_unrendered).count() as u64;
    }

    /// As [`Self::take`], of a file that a program rendered: its lines are not those of the file that it names.
    pub(crate) fn take_rendered(&mut self, file: &FileScan) {
        self.count(file);
        for remark in remarks(file) {
            self.note(Remark { line: None, ..remark });
        }
    }

    /// Counts a remark, and says it.
    fn note(&mut self, remark: Remark) {
        output::say(&remark.text());
        match remark.about {
            About::LeftAlone => self.fragments += 1,
            About::Excepted => self.excepted += 1,
            About::Suppressed => self.suppressed += 1,
            About::Unreadable { unrendered } => {
                self.unrendered += u64::from(unrendered);
                if self.unread.len() < MOST_UNREAD {
                    self.unread.push((remark.path, remark.line, remark.message));
                } else {
                    self.unread_beyond += 1;
                }
            }
        }
    }

    /// The findings that the settings of the repository suppress, for a summary; empty: none.
    pub(crate) fn suppressed(&self) -> String {
        if self.suppressed > 0 {
            format!(", {} suppressed by the repository", self.suppressed)
        } else {
            String::new()
        }
    }

    /// Fails when nothing was read.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.objects > 0 || self.fragments > 0 {
            return Ok(());
        }
        let unread = self.unread.len() as u64 + self.unread_beyond;
        if unread > 0 {
            anyhow::bail!("nothing could be read: {} cannot be parsed", counted(unread, "document"));
        }
        Err(anyhow::anyhow!("found no manifest in {}", counted(self.files, "file")))
            .hint("name folders or files that hold .yaml, .yml or .json manifests")
    }

    /// Writes the summary line to stderr; returns the exit code.
    fn close(&self, fail_on: FailOn) -> anyhow::Result<Exit> {
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
        let suppressed = self.suppressed();
        let fragments = some(self.fragments, "left alone");
        let unrendered = some(self.unrendered, "with unrendered placeholders");
        let findings = self.findings.saturating_sub(self.known);
        let known = if self.known > 0 { format!(", {} of the baseline", self.known) } else { String::new() };
        let line = format!(
            "{} in {} of {}{known}{excepted}{suppressed}{fragments}{unrendered}{unreadable}",
            counted(findings, "finding"),
            counted(self.objects, "object"),
            counted(self.files, "file")
        );
        output::say(&line);
        Ok(Exit::found(match fail_on {
            FailOn::Error => self.errors > 0,
            FailOn::Warning => findings > 0,
            FailOn::Never => false,
        }))
    }
}
