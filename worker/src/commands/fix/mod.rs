//! `worker fix PATH…`: repairs files.
//!
//! For every violation a patch is proposed and verified. Patches that all gates accept are applied to the user's text
//! one after the other, each proposed for the result of the previous ones. Without `--write` the diff is shown and no
//! file is changed. Companions (service accounts, secrets) go to `<stem>.companions.yaml` beside the file that needs
//! them, after its present content. A file is replaced as a whole and keeps its mode. Nothing is written through a link,
//! over a file with other names (hard links) unless they all lie below the folder that was named and are replaced with it, or
//! outside that folder. Repairs that may change how a workload runs are counted and not made, unless they are allowed.
//!
//! Exit 0: no violation is left. 1: violations are left, or, without `--write`, there are repairs to write. 2: a file
//! could not be read or written.

mod allowed;
mod object;

use api_server::{Definitions, Source};
use clap::ValueEnum;
use cli_support::failure::WithHint;
use cli_support::{Exit, output};
use domain::config::RunConfig;
use domain::outcome::Gate;
use domain::policy::PolicyId;
use engine::yaml;

use self::allowed::{Allowed, HeldBack};
use self::object::{Manner, Repaired, repair_file};
use super::catalogue::CatalogueArgs;
use super::companions::{companions_of, store};
use super::context::ContextArg;
use super::detect::{Tally, counted, policy, selected};
use super::exclude::ExcludeArg;
use super::settings::Settings;
use crate::repair::print_diff;
use crate::server_gate::{ServerArgs, ServerGate};
use corpus::{FileScan, Inputs, Scan};

/// Arguments of `worker fix`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders, YAML or JSON files; with the diff alone also tar and zip archives, and - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Write the repairs into the files; without it the diff is shown and no file is changed
    #[arg(short, long)]
    write: bool,
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
    let mut config = args.wanted.applied(args.settings.load()?);
    let selected = selected(&args.policy, &config);
    let inputs = Inputs::open(&args.paths, &config.limits)?.excluding(&args.exclude.exclude);
    if args.write
        && let Some(path) = inputs.read_only()
    {
        return Err(anyhow::anyhow!("cannot write into {path}"))
            .hint("unpack it first, or leave --write out to see the diff");
    }
    let gate = open_gate(args, &inputs, &config)?;
    if gate.is_some() {
        // The server is the schema gate.
        config.verifier.disabled_gates.insert(Gate::Schema);
    }
    let scan = Scan::survey(&inputs, &config, selected.clone(), args.context.of(&config))?;
    let manner = Manner {
        selected: &selected,
        rewrite: args.rewrite,
        allowed: &args.allowed,
        config: &config,
        gate: gate.as_ref(),
    };
    let mut done = Done::default();
    scan.files::<_, anyhow::Error>(
        |file| {
            let repaired = repair_file(&file, manner);
            (file, repaired)
        },
        |(file, repaired)| done.take(args.write, &file, &repaired?, &config),
    )?;
    done.finish(args.write)
}

/// What was repaired so far, in numbers.
#[derive(Debug, Default)]
struct Done {
    tally: Tally,
    held_back: HeldBack,
    applied: u64,
    left: u64,
    /// Files with repairs.
    changed: u64,
    /// Files that could not be written.
    failed: u64,
}

impl Done {
    /// Writes the repairs of a file, or shows them.
    fn take(
        &mut self,
        write: bool,
        file: &FileScan,
        repaired: &Repaired,
        config: &RunConfig,
    ) -> anyhow::Result<()> {
        self.tally.take(file);
        self.left += repaired.left.len() as u64;
        repaired.left.iter().for_each(|line| output::say(line));
        self.held_back.add(&repaired.held_back);
        let text = repaired.text.as_deref();
        let companions = companions_of(file, &repaired.companions, config).and_then(|companions| {
            let mut names = Vec::new();
            if write && (text.is_some() || companions.is_some()) {
                names = store(file, text, companions.as_ref(), &config.limits)?;
            }
            Ok((companions, names))
        });
        let (companions, names) = match companions {
            Ok(done) => done,
            Err(error) => {
                self.failed += 1;
                // What would have been repaired is left.
                self.left += repaired.applied.len() as u64;
                output::say(&format!("{}: {error:#}", file.path));
                return Ok(());
            }
        };
        if text.is_none() && companions.is_none() {
            return Ok(());
        }
        self.changed += 1;
        self.applied += repaired.applied.len() as u64;
        repaired.applied.iter().for_each(|line| output::say(line));
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
            output::say(&format!("{}: written under its other names too: {}", file.path, names.join(", ")));
        }
        if !write {
            print_diff(&file.path, &file.text, text.unwrap_or(&file.text))?;
            if let Some(companions) = companions {
                print_diff(&companions.path, &companions.old, &companions.new)?;
            }
        }
        Ok(())
    }

    /// Writes the summary to stderr; returns the exit code.
    fn finish(&self, write: bool) -> anyhow::Result<Exit> {
        self.tally.check()?;
        let verb = if write { "written" } else { "to be written (--write)" };
        output::say(&format!(
            "{} in {} {verb}, {} left",
            counted(self.applied, "repair"),
            counted(self.changed, "file"),
            counted(self.left, "violation")
        ));
        if let Some(line) = self.held_back.line() {
            output::say(&line);
        }
        anyhow::ensure!(self.failed == 0, "{} could not be written", counted(self.failed, "file"));
        let is_left = self.left > 0 || self.held_back.count() > 0;
        Ok(Exit::found(is_left || (self.changed > 0 && !write)))
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
    let mut definitions = Definitions::default();
    if matches!(server, Source::ControlPlane(_)) {
        inputs.batches::<anyhow::Error>(&config.limits, |files| {
            let texts = files.iter().flat_map(|file| file.content.iter());
            texts.flat_map(|text| yaml::split(text)).try_for_each(|piece| Ok(definitions.take(piece.text)?))
        })?;
    }
    ServerGate::open(&server, config, &definitions).map(Some)
}
