//! `worker propose PATH…` or `--detections FILE`: proposes a patch by the rules for every record.
//!
//! With paths the ids are those of `worker detect --output detections` over the same paths. Exit 0: every record has a
//! patch (or nothing to fix). 1: some have none, for the reason in `status` and `reason`. 2: nothing could be read.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use cli_support::{Exit, escape, output};
use domain::config::{Documents, RunConfig};
use domain::ids::DocumentHash;
use domain::policy::{PolicyId, PolicyName};
use domain::record::{Record, SourceDocument};
use engine::document::Document;
use engine::propose::Decision;
use serde_json::{Value, json};

use super::catalogue::CatalogueArgs;
use super::context::ContextArg;
use super::detect::{Tally, counted, policy, selected};
use super::files::exclude::ExcludeArg;
use super::propose_as_program::{self, Protocol};
use super::propose_diff::{Proposed, heading};
use super::settings::Settings;
use crate::repair::{patched_file, print_diff, propose};
use corpus::{FileScan, Inputs, Place, Positions, Scan, Source, read, rows};

/// Arguments of `worker propose`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders, YAML or JSON files, tar and zip archives; - for standard input
    #[arg(required_unless_present_any = ["detections", "protocol"], conflicts_with = "detections", value_name = "PATH")]
    paths: Vec<String>,
    /// Published detections (JSON, JSON lines, Parquet, plain or gz) instead of manifests
    #[arg(long, value_name = "FILE")]
    detections: Option<PathBuf>,
    /// Where the whole documents of the detections lie; needed for documents: manifest
    #[arg(long, value_name = "PATH", requires = "detections")]
    manifests: Option<PathBuf>,
    /// Repair violations of this policy only (id or alias; may be repeated, or several with commas)
    #[arg(short, long, value_name = "ID", value_delimiter = ',', value_parser = policy)]
    policy: Vec<PolicyId>,
    /// Show the patches as a diff of each file, which `git apply` takes; comments, order and quoting stay. No gate has judged
    /// them. With --detections: a diff of each record
    #[arg(long, conflicts_with = "output")]
    diff: bool,
    /// Answer questions as a program that a worker asks (`proposer.mode: command`), instead of reading manifests
    #[arg(long, value_enum, value_name = "PROTOCOL", conflicts_with_all = ["paths", "detections", "policy", "diff", "output"])]
    protocol: Option<Protocol>,
    /// How patches are written to stdout
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
    #[command(flatten)]
    wanted: CatalogueArgs,
    #[command(flatten)]
    exclude: ExcludeArg,
    #[command(flatten)]
    context: ContextArg,
    #[command(flatten)]
    settings: Settings,
}

/// Output format of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One JSON array
    #[default]
    Json,
    /// A JSON object a line
    Jsonl,
}

/// Writes JSON objects to stdout.
pub(crate) struct Rows {
    out: BufWriter<io::StdoutLock<'static>>,
    form: Form,
    written: u64,
}

impl Rows {
    pub(crate) fn begin(form: Form) -> Self {
        Self { out: BufWriter::with_capacity(1 << 16, io::stdout().lock()), form, written: 0 }
    }

    pub(crate) fn push(&mut self, row: &Value) -> io::Result<()> {
        let row = row.to_string();
        let row = escape::json(&row);
        match (self.form, self.written) {
            (Form::Json, 0) => write!(self.out, "[\n{row}")?,
            (Form::Json, _) => write!(self.out, ",\n{row}")?,
            (Form::Jsonl, _) => writeln!(self.out, "{row}")?,
        }
        self.written += 1;
        Ok(())
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        if self.form == Form::Json {
            self.out.write_all(if self.written == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()
    }
}

/// Counts of records by decision.
#[derive(Debug, Default)]
struct Counts {
    proposed: u64,
    without: u64,
    nothing_to_fix: u64,
}

impl Counts {
    fn take(&mut self, decision: &Decision) {
        match decision {
            Decision::Repair(_) => self.proposed += 1,
            Decision::NotApplicable { .. } => self.nothing_to_fix += 1,
            Decision::NeedsReview { .. } | Decision::NoRule => self.without += 1,
        }
    }

    fn close(&self) -> Exit {
        output::say(&format!(
            "{}, {} without a patch, {} with nothing to fix",
            counted(self.proposed, "patch"),
            self.without,
            self.nothing_to_fix
        ));
        Exit::found(self.without > 0)
    }
}

/// Proposes and prints the patches.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.wanted.applied(args.settings.load()?);
    if let Some(protocol) = args.protocol {
        return propose_as_program::run(protocol, &config);
    }
    match &args.detections {
        Some(detections) => from_records(args, detections, &config),
        None if args.diff => diffs_of_files(args, &config),
        None => from_files(args, &config),
    }
}

/// A patch of more operations is written once: the rows of further records that share it name the row that has it.
/// Otherwise the output would grow with the square of the violations in a document.
const SHARED_OPS: usize = 100;

/// The output for a record that shares the decision of the row `first`.
fn shared_row(id: &str, first: &str, policy: &PolicyName, decision: &Decision) -> Value {
    match decision {
        Decision::Repair(proposal) if proposal.patch.len() > SHARED_OPS => json!({
            "id": id, "policy_id": policy.as_str(), "source": "rules", "hardened": proposal.hardened, "patch": null,
            "status": "proposed", "same_as": first,
        }),
        _ => row(id, policy, decision),
    }
}

/// The output for one record.
fn row(id: &str, policy: &PolicyName, decision: &Decision) -> Value {
    let mut row = json!({
        "id": id, "policy_id": policy.as_str(), "source": "rules", "hardened": false, "patch": [],
    });
    let more = match decision {
        Decision::Repair(proposal) => json!({
            "hardened": proposal.hardened,
            "patch": proposal.patch,
            "status": "proposed",
            "companions": proposal.companions,
            "cautions": proposal.cautions,
            "collateral_ops": proposal.collateral_ops,
        }),
        Decision::NeedsReview { reason } => json!({"status": "needs_review", "reason": reason}),
        Decision::NotApplicable { reason } => json!({"status": "not_applicable", "reason": reason}),
        Decision::NoRule => json!({"status": "error", "reason": "no rule exists for the policy"}),
    };
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

fn from_files(args: &Args, config: &RunConfig) -> anyhow::Result<Exit> {
    let inputs = Inputs::open(&args.paths, &config.limits)?.excluding(&args.exclude.exclude);
    let scan = Scan::survey(
        &inputs,
        config,
        selected(&args.policy, config),
        args.context.of(config),
        Positions::Left,
    )?;
    let (mut tally, mut counts) = (Tally::default(), Counts::default());
    let mut out = Rows::begin(args.output);
    let mut number = 0_u64;
    scan.files::<_, anyhow::Error>(
        |file| {
            let decisions = decisions(&file, config);
            (file, decisions)
        },
        |(file, decisions)| {
            tally.take(&file);
            let mut first_rows: HashMap<(usize, PolicyId), String> = HashMap::new();
            for (at, policy, decision) in decisions {
                number += 1;
                counts.take(&decision);
                let (id, name) = (format!("{number:03}"), PolicyName::Known(policy));
                match first_rows.get(&(at, policy)) {
                    Some(first) => out.push(&shared_row(&id, first, &name, &decision))?,
                    None => out.push(&row(&id, &name, &decision))?,
                }
                first_rows.entry((at, policy)).or_insert(id);
            }
            Ok(())
        },
    )?;
    tally.check()?;
    out.end()?;
    Ok(counts.close())
}

/// One diff for each file.
fn diffs_of_files(args: &Args, config: &RunConfig) -> anyhow::Result<Exit> {
    let inputs = Inputs::open(&args.paths, &config.limits)?.excluding(&args.exclude.exclude);
    let selected = selected(&args.policy, config);
    let scan = Scan::survey(&inputs, config, selected.clone(), args.context.of(config), Positions::Left)?;
    let (mut tally, mut counts) = (Tally::default(), Counts::default());
    scan.files::<_, anyhow::Error>(
        |file| {
            let proposed = Proposed::of(&file, &selected, config);
            (file, proposed)
        },
        |(file, proposed)| {
            tally.take(&file);
            proposed.decisions.iter().for_each(|decision| counts.take(decision));
            proposed.show(&file, config)
        },
    )?;
    tally.check()?;
    Ok(counts.close())
}

/// One decision for each record of the file, in the order of the records; records of one object and policy share it.
fn decisions(file: &FileScan, config: &RunConfig) -> Vec<(usize, PolicyId, Arc<Decision>)> {
    let mut known: HashMap<(usize, PolicyId), Arc<Decision>> = HashMap::new();
    let mut decisions = Vec::new();
    for row in rows(file) {
        let (Some(object), Some(policy)) = (file.objects.get(row.at), PolicyId::find(row.rule)) else {
            continue;
        };
        let decision = known.entry((row.at, policy)).or_insert_with(|| {
            let name = PolicyName::Known(policy);
            Arc::new(propose(&object.document, &object.neighbours, &name, config))
        });
        decisions.push((row.at, policy, Arc::clone(decision)));
    }
    decisions
}

fn from_records(args: &Args, detections: &std::path::Path, config: &RunConfig) -> anyhow::Result<Exit> {
    let source = Source { corpus: detections.to_owned(), manifests: args.manifests.clone() };
    let mut config = config.clone();
    if args.manifests.is_some() {
        config.documents = Documents::Manifest;
    }
    let mut counts = Counts::default();
    let mut out = (!args.diff).then(|| Rows::begin(args.output));
    let mut shown: BTreeSet<(DocumentHash, String)> = BTreeSet::new();
    let mut each = |record: Record, source: SourceDocument| -> anyhow::Result<()> {
        let name = record.policy();
        let is_selected = args.policy.is_empty()
            || matches!(&name, PolicyName::Known(policy) if args.policy.contains(policy));
        if !is_selected {
            return Ok(());
        }
        let decision = decide(&record, &source, &name, &config);
        counts.take(&decision);
        if let Some(out) = &mut out {
            out.push(&row(record.id.as_str(), &name, &decision))?;
        } else if shown.insert((source.hash, name.as_str().to_owned())) {
            // Records that share policy and document share one diff.
            show(&record.manifest_path, &source.text, &name, &decision, &config)?;
        }
        Ok(())
    };
    read(&source, &config, &mut each)?;
    out.map_or(Ok(()), Rows::end)?;
    Ok(counts.close())
}

fn decide(record: &Record, source: &SourceDocument, name: &PolicyName, config: &RunConfig) -> Decision {
    if let Some(problem) = &record.problem {
        return Decision::NeedsReview { reason: problem.message.clone() };
    }
    match Document::parse(&source.text, &config.limits) {
        Ok(document) => propose(&document, &source.neighbours, name, config),
        Err(error) => Decision::NeedsReview { reason: error.to_string() },
    }
}

/// Prints a patch as a diff of the text.
fn show(
    path: &str,
    text: &str,
    policy: &PolicyName,
    decision: &Decision,
    config: &RunConfig,
) -> anyhow::Result<()> {
    let reason = match decision {
        Decision::Repair(proposal) => {
            let rewritten = patched_file(text, &Place::whole(text), &proposal.patch, &config.limits)?;
            output::print(&format!("# {}\n", heading(policy, &proposal.cautions)))?;
            print_diff(path, text, &rewritten.text)?;
            return companions(path, &proposal.companions);
        }
        Decision::NeedsReview { reason } => reason.as_str(),
        Decision::NotApplicable { .. } => return Ok(()),
        Decision::NoRule => "no rule exists for the policy",
    };
    output::say(&format!("{path}: {}: {reason}", policy.as_str()));
    Ok(())
}

fn companions(path: &str, companions: &[Value]) -> anyhow::Result<()> {
    for companion in companions {
        let text = engine::yaml::to_yaml(companion);
        print_diff(&format!("{path} (companion)"), "", &text)?;
    }
    Ok(())
}
