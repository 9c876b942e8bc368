//! `worker verify`: verifies repairs by the gates.
//!
//! `worker verify BEFORE AFTER` and `worker verify --patch PATCH FILE` judge a repair that somebody made;
//! `--detections FILE --patches FILE` judges the patches of records. With `--control-plane` or `--kubeconfig` an API server is
//! the schema gate. Exit 0: all are accepted. 1: some are rejected. 2: something could not be read, or a patch has no record.

pub(super) mod objects;
mod records;
pub(super) mod repair;
mod rows;
mod target;
mod verdicts;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use cli_support::Exit;
use domain::config::{GateProfile, RunConfig};
use domain::outcome::Gate;
use domain::policy::PolicyId;

use self::rows::{Form, Rows};
use self::target::Clearing;
use super::catalogue::CatalogueArgs;
use super::detect::policy;
use super::settings::Settings;
use crate::server_gate::ServerArgs;

/// Arguments of `worker verify`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "worker verify [OPTIONS] <BEFORE> <AFTER>\n       \
    worker verify [OPTIONS] --patch <PATCH> <FILE>\n       \
    worker verify [OPTIONS] --detections <FILE> --patches <FILE>")]
pub struct Args {
    /// Manifests before and after a repair: two files or folders. With --patch: the file that it repairs
    #[arg(
        value_name = "BEFORE AFTER",
        num_args = 1..=2,
        required_unless_present = "detections",
        conflicts_with = "detections"
    )]
    files: Vec<String>,
    /// A JSON Patch (RFC 6902) of the object in FILE, to be judged
    #[arg(long, value_name = "PATCH", conflicts_with = "detections")]
    patch: Option<PathBuf>,
    /// The object of FILE that the patch is for, where there are several
    #[arg(long, value_name = "KIND/NAME", requires = "patch")]
    object: Option<String>,
    /// What the repair has to clear (id or alias; may be repeated, or several with commas) [default: what it clears]
    #[arg(short, long, value_name = "ID", value_delimiter = ',', value_parser = policy, conflicts_with = "detections")]
    policy: Vec<PolicyId>,
    /// Published detections (JSON, JSON lines, Parquet, plain or gz)
    #[arg(long, value_name = "FILE", requires = "patches")]
    detections: Option<PathBuf>,
    /// Patches for them (JSON or JSON lines, plain or gz)
    #[arg(long, value_name = "FILE", requires = "detections")]
    patches: Option<String>,
    /// Where the whole documents lie; they are verified instead of the records' own
    #[arg(long, value_name = "PATH", requires = "detections")]
    manifests: Option<PathBuf>,
    /// Which gates to use [default: as configured, strict]. Without it a policy is cleared by a hand-made repair if `worker detect`
    /// finds no violation of it any more; with it, if the gate of runs says so, which demands more of some policies
    #[arg(long, value_enum, value_name = "PROFILE")]
    gates: Option<Profile>,
    /// Disable a gate (may be repeated)
    #[arg(long, value_name = "GATE", value_delimiter = ',', value_parser = gate)]
    disable_gate: Vec<Gate>,
    /// How verdicts are written to stdout [default: text; json for --detections]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Form>,
    #[command(flatten)]
    wanted: CatalogueArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    settings: Settings,
}

/// Which gates to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// The last published gates with their defects fixed
    Strict,
    /// The gates of the published runs
    Published,
}

fn gate(text: &str) -> Result<Gate, String> {
    let known = || Gate::ALL.iter().filter(|gate| **gate != Gate::Apply);
    known().copied().find(|gate| gate.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = known().map(|gate| gate.as_str()).collect();
        format!("unknown gate; these can be disabled: {}", known.join(", "))
    })
}

/// Verifies and prints the verdicts.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.configured()?;
    if let Some(detections) = &args.detections {
        let patches = args.patches.as_deref().context("--detections needs --patches")?;
        let files = records::Files { detections, patches, manifests: args.manifests.clone() };
        let out = Rows::begin(args.output.unwrap_or(Form::Json));
        return records::run(files, &args.server, out, config);
    }
    let out = Rows::begin(args.output.unwrap_or(Form::Text));
    let clearing = if args.gates.is_some() { Clearing::Gate } else { Clearing::Detector };
    let (patch, object) = (args.patch.as_deref(), args.object.as_deref());
    let repair = repair::Repair::read(&args.files, patch, object, clearing, &config)?;
    repair.judge(&args.policy, &args.server, out, config)
}

impl Args {
    fn configured(&self) -> anyhow::Result<RunConfig> {
        let mut config = self.wanted.applied(self.settings.load()?);
        match self.gates {
            Some(Profile::Strict) => config.verifier.gates = GateProfile::Strict,
            Some(Profile::Published) => config.verifier.gates = GateProfile::Published,
            None => {}
        }
        config.verifier.disabled_gates.extend(&self.disable_gate);
        Ok(config)
    }
}
