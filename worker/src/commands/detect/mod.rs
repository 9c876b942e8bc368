//! `worker detect PATH…`: finds the violations in manifests.
//!
//! Exit 0: no findings. 1: findings. 2: nothing could be read. A document that cannot be read is reported on stderr
//! with file and line, counted, and changes the exit code only if no other document could be read. A scanner that cannot
//! be started, or fails, is a failure of the command: 2.

mod baseline;
mod fail_on;
mod form;
mod outside;
mod remarks;
mod text;
mod writer;

use cli_support::Exit;
use cli_support::failure::WithHint;
use cli_support::output;
use domain::policy::PolicyId;
use domain::scanner::Scanner;

use super::catalogue::CatalogueArgs;
pub(crate) use super::catalogue::{policy, selected};
use super::context::ContextArg;
use super::exclude::ExcludeArg;
use super::repository::{Repository, RepositoryArgs};
use super::settings::Settings;
use crate::findings::locate;
use baseline::{Baseline, FailureArgs};
use corpus::{FileScan, Inputs, Positions, Scan};
pub(in crate::commands) use fail_on::FailOn;
use form::Form;
pub(crate) use form::counted;
pub(crate) use outside::scanner;
use outside::{Outside, ToolArgs};
use remarks::is_object;
pub(in crate::commands) use remarks::{About, Remark, remarks};
pub(in crate::commands) use text::line as text_line;
use writer::Writer;
pub(crate) use writer::element;

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
    let repository = args.repository.load(&args.paths)?;
    let config = repository.applied(config, args.wanted, &args.settings)?;
    let limits = config.limits;
    let named = repository.policies(&args.policy);
    let wanted = selected(&named, &config);
    let tools = args.tools.open(&scanners)?;
    let context = args.context.of(&config);
    let inputs = repository.excluding(Inputs::open(&args.paths, &limits)?.excluding(&args.exclude.exclude));
    let is_located = !matches!(args.output, Form::Detections);
    let positions = if is_located { Positions::Recorded } else { Positions::Left };
    let scan = Scan::survey(&inputs, &config, wanted.clone(), context, positions)?;
    let mut outside = Outside::scan(&tools, &scan, context)?;
    if !named.is_empty() {
        outside.keep(&wanted);
    }
    let asked = args.tools.scanners();
    let has_builtin = asked.contains(Scanner::Builtin);
    let mut writer = Writer::begin(args.output, has_builtin.then_some(&wanted[..]), &outside)?;
    let (mut tally, mut not_judged) = (Tally::default(), Vec::new());
    let mut baseline = args.baseline(&repository)?;
    scan.files::<_, anyhow::Error>(
        |mut file| {
            if !has_builtin {
                forget(&mut file);
            }
            let mut found = outside.of_file(&file);
            repository.suppressions.apply(&mut file);
            let suppressed = repository.suppressions.apply_outside(&file, &mut found);
            let located = if is_located { locate(&file, &found) } else { Vec::new() };
            (file, found, located, suppressed)
        },
        |(file, found, located, suppressed)| {
            tally.take(&file);
            for remark in suppressed {
                tally.note(remark);
            }
            tally.findings += found.iter().map(|object| object.len() as u64).sum::<u64>();
            let located = match &mut baseline {
                Some(baseline) => baseline.new_ones(located),
                None => located,
            };
            tally.errors += located.iter().filter(|found| found.severity == "error").count() as u64;
            outside::collect(&mut not_judged, outside.not_judged(&file));
            writer.file(&file, located, &found)
        },
    )?;
    outside.say();
    writer.end(&tally.unread, &outside, &not_judged)?;
    tally.known = baseline.map_or(0, |baseline| baseline.left_out());
    // Records have no severity.
    tally.close(if is_located { args.failure.fail_on(&repository) } else { FailOn::default() })
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
        self.files += 1;
        self.objects += file.objects.iter().filter(|object| is_object(object)).count() as u64;
        self.findings += file.objects.iter().map(|object| object.findings.len() as u64).sum::<u64>();
        self.unrendered += file.objects.iter().filter(|object| object.is_unrendered).count() as u64;
        for remark in remarks(file) {
            self.note(remark);
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
