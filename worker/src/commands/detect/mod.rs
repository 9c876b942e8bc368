//! `worker detect PATH…`: finds the violations in manifests.
//!
//! Exit 0: no findings. 1: findings. 2: a file or a document could not be read. It is reported on stderr with file and line, and in
//! the forms for CI services; with `--ignore-unreadable` it changes the exit code only if no other document could be read.
//! Templates of charts and documents that are not objects are said and counted, and change nothing. A scanner that cannot be
//! started, or fails, is a failure of the command: 2.

mod baseline;
mod fail_on;
mod form;
mod outside;
mod parts;
mod remarks;
mod tally;
mod text;
mod writer;

use cli_support::Exit;
use cli_support::output;
use domain::policy::PolicyId;
use domain::scanner::Scanner;

use super::builds::BuildArgs;
use super::catalogue::CatalogueArgs;
pub(crate) use super::catalogue::{policy, selected};
use super::context::ContextArg;
use super::files::exclude::ExcludeArg;
use super::files::unreadable::UnreadableArg;
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
pub(in crate::commands) use remarks::{About, Remark, remarks};
pub(crate) use tally::Tally;
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
    unreadable: UnreadableArg,
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
        tally: Tally::new(args.unreadable),
        not_judged: Vec::new(),
        baseline: args.baseline(&repository)?,
        is_located,
    };
    let look = Look { outside: &outside, repository: &repository, has_builtin, unreadable: args.unreadable };
    for (number, (part, scan)) in parts.iter().zip(&scans).enumerate() {
        found.part((number, part), scan, look, &mut writer)?;
    }
    outside.say();
    let Found { mut tally, not_judged, baseline, .. } = found;
    writer.end(&tally.unread, &outside, &not_judged)?;
    repository.suppressions.unused(&wanted).iter().for_each(|line| output::say(line));
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
    unreadable: UnreadableArg,
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
        let Look { outside, repository, has_builtin, unreadable } = look;
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
                writer.file(&file, located, &found, &unreadable.unread(&file, rendered))
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
