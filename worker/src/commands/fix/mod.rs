//! `worker fix PATH…`: repairs files.
//!
//! For every violation a patch is proposed and verified. Patches that all gates accept are applied to the user's text
//! one after the other, each proposed for the result of the previous ones. Without `--write` the diff is shown and no
//! file is changed. Companions (service accounts, secrets) go to `<stem>.companions.yaml` beside the file that needs
//! them, after its present content. A file is replaced as a whole and keeps its mode. Nothing is written through a link,
//! over a file with other names (hard links) unless they all lie below the folder that was named and are replaced with it, or
//! outside that folder. Repairs that may change how a workload runs are counted and not made, unless they are allowed.
//! `--helm` and `--kustomize` repair what these programs render, in the files that it surely comes from (`builds`).
//! `--revert-file FILE` records what undoes the repairs, and `worker fix --revert FILE` undoes them.
//!
//! Exit 0: no violation is left. 1: violations are left, or, without `--write`, there are repairs to write. 2: a file
//! could not be read (unless `--ignore-unreadable`) or written.

pub(super) mod allowed;
mod builds;
mod done;
pub(super) mod file;
mod interactive;
mod object;
pub(super) mod repaired;
mod report;
mod revert;
mod target;
mod tracking;

use std::path::PathBuf;

use api_server::Source;
use clap::ValueEnum;
use cli_support::Exit;
use cli_support::failure::WithHint;
use cli_support::output;
use domain::config::RunConfig;
use domain::outcome::Gate;
use domain::policy::PolicyId;

use self::allowed::Allowed;
use self::done::{Counts, Done};
use self::file::repair_file;
use self::interactive::Asker;
use self::repaired::Manner;
use self::report::{Form, Report, Review};
use self::revert::Recorder;
use self::target::Target;
use super::builds::BuildArgs;
use super::catalogue::CatalogueArgs;
use super::context::ContextArg;
use super::detect::{policy, selected};
use super::files::exclude::ExcludeArg;
use super::files::unreadable::UnreadableArg;
use super::repository::RepositoryArgs;
use super::settings::Settings;
use crate::findings::locate;
use crate::server_gate::{ServerArgs, ServerGate, definitions_in};
use corpus::{Inputs, Positions, Scan};

/// Arguments of `worker fix`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders, YAML or JSON files; without --write also tar and zip archives, and - for standard input. With --revert: the
    /// folder that holds the files [default: .]
    #[arg(required_unless_present_any = ["revert", "helm", "kustomize"], value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    builds: BuildArgs,
    /// Write the repairs into the files; without it the diff is shown and no file is changed
    #[arg(short, long)]
    write: bool,
    /// Ask about each repair, held back or not, before it is written: shows its diff and cautions, then reads an answer from
    /// standard input, a line each (y, n, a: all of this file, d: none of the rest of this file, q, ?). At the end of the
    /// input the rest is left
    #[arg(short, long, conflicts_with_all = ["unsafe", "allow"])]
    interactive: bool,
    /// Write the repaired files into this new folder, at the same paths, and change none of the files
    #[arg(long, value_name = "DIR", conflicts_with = "write")]
    output_dir: Option<PathBuf>,
    /// What is written to stdout. Places are those of the files before their repairs
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    /// Record in this new file what undoes the repairs. It holds what they remove, secrets too: only its owner can read it
    #[arg(long, value_name = "FILE", requires = "write")]
    revert_file: Option<PathBuf>,
    /// Undo the repairs that --revert-file recorded: shows the diff, or writes it with --write. A file that was not changed
    /// since is restored byte for byte. In one that was, the inverse patches are applied where what they take back is
    /// unchanged
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "output_dir", "revert_file", "policy", "unsafe", "allow", "interactive", "helm", "kustomize"])]
    revert: Option<PathBuf>,
    /// Write a document anew where a repair cannot be an edit of its text: comments and layout are lost. Without it such a
    /// document is left alone
    #[arg(long)]
    rewrite: bool,
    /// Repair violations of this policy only (id or alias; may be repeated, or several with commas)
    #[arg(short, long, value_name = "ID", value_delimiter = ',', value_parser = policy)]
    policy: Vec<PolicyId>,
    #[command(flatten)]
    allowed: Allowed,
    #[command(flatten)]
    wanted: CatalogueArgs,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    unreadable: UnreadableArg,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    context: ContextArg,
    /// Who is the schema gate. A server without --kubeconfig or --control-plane: the one that KUBECONFIG, ~/.kube/config or
    /// the pod names
    #[arg(long, value_enum, default_value_t, value_name = "WHO")]
    verify_with: VerifyWith,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    settings: Settings,
}

/// Who is the schema gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum VerifyWith {
    /// The rules that are built in
    #[default]
    Embedded,
    /// An API server
    Server,
}

/// Repairs the files; shows the diff or writes them.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if !args.builds.is_empty() {
        return run_builds(args);
    }
    let config = args.settings.load()?;
    if let Some(file) = &args.revert {
        let folder = match &args.paths[..] {
            [] => ".",
            [folder] => folder,
            _ => anyhow::bail!("--revert takes one folder"),
        };
        let manner = revert::Manner { write: args.write, rewrite: args.rewrite, limits: &config.limits };
        return revert::run(file, folder, &manner);
    }
    args.check_interactive()?;
    let repository = args.repository.load(&args.paths)?;
    let mut config = repository.applied(config, args.wanted, &args.settings)?;
    let selected = selected(&repository.policies(&args.policy), &config);
    let inputs = Inputs::open(&args.paths, &config.limits)?.excluding(&args.exclude.exclude);
    let inputs = repository.excluding(inputs);
    if args.write
        && let Some(path) = inputs.read_only()
    {
        return Err(anyhow::anyhow!("cannot write into {path}"))
            .hint("unpack it first, or leave --write out to see the diff");
    }
    let (target, recorder) = (args.target()?, args.revert_file.as_deref().map(Recorder::new).transpose()?);
    let gate = open_gate(args, &inputs, &config)?;
    if gate.is_some() {
        // The server is the schema gate.
        config.verifier.disabled_gates.insert(Gate::Schema);
    }
    let report = Report::begin(args.output, &selected, target.writes())?;
    let tracked = report.is_some();
    let positions = if tracked { Positions::Recorded } else { Positions::Left };
    let scan = Scan::survey(&inputs, &config, selected.clone(), args.context.of(&config), positions)?;
    let allowed = if args.interactive { Allowed::all() } else { repository.allowed(&args.allowed) };
    let asker = args.interactive.then(Asker::default);
    let manner = Manner {
        selected: &selected,
        rewrite: args.rewrite,
        rendered: false,
        tracked,
        allowed: &allowed,
        suppressions: &repository.suppressions,
        config: &config,
        gate: gate.as_ref(),
        asker: asker.as_ref(),
        stop: None,
    };
    let mut done = Done { target, recorder, report, config: &config, counts: Counts::new(args.unreadable) };
    repair_all(&scan, manner, &mut done)?;
    repository.suppressions.unused(&selected).iter().for_each(|line| output::say(line));
    done.finish()
}

/// Repairs what Helm and kustomize render.
fn run_builds(args: &Args) -> anyhow::Result<Exit> {
    args.check_builds()?;
    let (config, scanners) = args.settings.with_scanners()?;
    let repository = args.repository.load(&args.builds.folders())?;
    let config = repository.applied(config, args.wanted, &args.settings)?;
    let how = builds::How {
        write: args.write,
        rewrite: args.rewrite,
        exclude: &args.exclude,
        unreadable: args.unreadable,
        config: &config,
        selected: &selected(&repository.policies(&args.policy), &config),
        allowed: &repository.allowed(&args.allowed),
        repository: &repository,
    };
    builds::run(&args.builds.open(&scanners)?, how)
}

/// Repairs every file: one after the other where each repair is asked about, else several at the same time.
fn repair_all(scan: &Scan<'_>, manner: Manner<'_>, done: &mut Done<'_>) -> anyhow::Result<()> {
    let suppressed = |mut file| {
        manner.suppressions.apply(&mut file);
        file
    };
    if manner.asker.is_some() {
        return scan.files(suppressed, |file| {
            let repaired = repair_file(&file, manner)?;
            done.take(&file, repaired, None)
        });
    }
    scan.files(
        |file| {
            let file = suppressed(file);
            let repaired = repair_file(&file, manner).map(|repaired| {
                let found = || locate(&file, &[]);
                let review = manner.tracked.then(|| Review::new(&file, found(), &repaired));
                (repaired, review)
            });
            (file, repaired)
        },
        |(file, repaired)| {
            let (repaired, review) = repaired?;
            done.take(&file, repaired, review)
        },
    )
}

impl Args {
    /// `Err`: something is asked for that is not done for what a program rendered.
    fn check_builds(&self) -> anyhow::Result<()> {
        let server = self.verify_with == VerifyWith::Server || self.server.source().is_some();
        let asked = [
            (self.output != Form::Diff, "--output"),
            (self.output_dir.is_some(), "--output-dir"),
            (self.interactive, "--interactive"),
            (self.revert_file.is_some(), "--revert-file"),
            (server, "an API server"),
        ];
        match asked.into_iter().find(|(is_asked, _)| *is_asked) {
            Some((_, flag)) => Err(anyhow::anyhow!("{flag} does not go with --helm and --kustomize"))
                .hint("leave it out, or name the manifests themselves as PATH"),
            None => Ok(()),
        }
    }

    /// `Err`: with what else is asked for nobody can answer, or nothing would come of the answers.
    fn check_interactive(&self) -> anyhow::Result<()> {
        if !self.interactive {
            return Ok(());
        }
        anyhow::ensure!(
            self.output == Form::Diff,
            "--interactive shows diffs on standard output, and no other --output"
        );
        anyhow::ensure!(
            !self.paths.iter().any(|path| path == "-"),
            "--interactive reads answers from standard input, and no manifests"
        );
        if self.write || self.output_dir.is_some() {
            return Ok(());
        }
        Err(anyhow::anyhow!("--interactive chooses what is written, and nothing is"))
            .hint("add --write, or --output-dir DIR")
    }

    fn target(&self) -> anyhow::Result<Target> {
        match &self.output_dir {
            Some(folder) => Target::folder(folder),
            None if self.write => Ok(Target::InPlace),
            None => Ok(Target::None),
        }
    }
}

/// Connects to the server, if one is asked for; a control plane is prepared with the definitions in the files.
fn open_gate(args: &Args, inputs: &Inputs, config: &RunConfig) -> anyhow::Result<Option<ServerGate>> {
    let named = args.server.source();
    if args.verify_with == VerifyWith::Embedded {
        return match named {
            Some(_) => {
                Err(anyhow::anyhow!("a server is named and not asked")).hint("add --verify-with server")
            }
            None => Ok(None),
        };
    }
    let server = named.unwrap_or(Source::Environment);
    ServerGate::open(&server, config, &definitions_in(inputs, &server, config)?).map(Some)
}
