//! `worker fix PATH…`: repairs files.
//!
//! For every violation a patch is proposed and verified. Patches that all gates accept are applied to the user's text
//! one after the other, each proposed for the result of the previous ones. Without `--write` the diff is shown and no
//! file is changed. Companions (service accounts, secrets) go to `<stem>.companions.yaml` beside the file that needs
//! them, after its present content. A file is replaced as a whole and keeps its mode. Nothing is written through a link,
//! over a file with other names (hard links) unless they all lie below the folder that was named and are replaced with it, or
//! outside that folder.
//!
//! Exit 0: no violation is left. 1: violations are left, or, without `--write`, there are repairs to write. 2: a file
//! could not be read or written.

use api_server::{Definitions, Source};
use clap::ValueEnum;
use cli_support::failure::WithHint;
use cli_support::{Exit, output};
use domain::config::{Limits, RunConfig};
use domain::outcome::Gate;
use domain::policy::PolicyId;
use domain::record::Neighbours;
use engine::detect;
use engine::document::Document;
use engine::exceptions;
use engine::k8s::neighbours;
use engine::rewrite::Style;
use engine::yaml;
use serde_json::Value;

use super::catalogue::CatalogueArgs;
use super::companions::{companions_of, store};
use super::context::ContextArg;
use super::detect::{Tally, counted, policy, selected};
use super::settings::Settings;
use crate::repair::{Attempt, attempt, diff, missing_break, patched_piece};
use crate::server_gate::{Asked, ServerArgs, ServerGate, ServerOpinion};
use corpus::{FileScan, Inputs, Place, Scan};

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
    wanted: CatalogueArgs,
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

/// Result of the repair of one file.
#[derive(Debug, Default)]
struct Repaired {
    /// The new text; `None` when nothing changed.
    text: Option<String>,
    companions: Vec<Value>,
    /// Messages about the applied repairs, with their cautions.
    applied: Vec<String>,
    /// Messages about the violations that are left, with their reasons.
    left: Vec<String>,
}

/// Repairs the files; shows the diff or writes them.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut config = args.wanted.applied(args.settings.load()?);
    let selected = selected(&args.policy, &config);
    let inputs = Inputs::open(&args.paths, &config.limits)?;
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
    let mut tally = Tally::default();
    let (mut applied, mut left, mut changed, mut failed) = (0_u64, 0_u64, 0_u64, 0_u64);
    scan.files::<_, anyhow::Error>(
        |file| {
            let repaired = repair_file(&file, &selected, args.rewrite, &config, gate.as_ref());
            (file, repaired)
        },
        |(file, repaired)| {
            let repaired = repaired?;
            tally.take(&file);
            left += repaired.left.len() as u64;
            repaired.left.iter().for_each(|line| output::say(line));
            let text = repaired.text.as_deref();
            let companions = companions_of(&file, &repaired.companions, &config).and_then(|companions| {
                let mut names = Vec::new();
                if args.write && (text.is_some() || companions.is_some()) {
                    names = store(&file, text, companions.as_ref(), &config.limits)?;
                }
                Ok((companions, names))
            });
            let (companions, names) = match companions {
                Ok(done) => done,
                Err(error) => {
                    failed += 1;
                    // What would have been repaired is left.
                    left += repaired.applied.len() as u64;
                    output::say(&format!("{}: {error:#}", file.path));
                    return Ok(());
                }
            };
            if text.is_none() && companions.is_none() {
                return Ok(());
            }
            (changed, applied) = (changed + 1, applied + repaired.applied.len() as u64);
            repaired.applied.iter().for_each(|line| output::say(line));
            if !names.is_empty() {
                let names: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
                output::say(&format!(
                    "{}: written under its other names too: {}",
                    file.path,
                    names.join(", ")
                ));
            }
            if !args.write {
                output::print(&diff(&file.path, &file.text, text.unwrap_or(&file.text)))?;
                if let Some(companions) = companions {
                    output::print(&diff(&companions.path, &companions.old, &companions.new))?;
                }
            }
            Ok(())
        },
    )?;
    tally.check()?;
    let verb = if args.write { "written" } else { "to be written (--write)" };
    output::say(&format!(
        "{} in {} {verb}, {} left",
        counted(applied, "repair"),
        counted(changed, "file"),
        counted(left, "violation")
    ));
    anyhow::ensure!(failed == 0, "{} could not be written", counted(failed, "file"));
    Ok(Exit::found(left > 0 || (changed > 0 && !args.write)))
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

/// Repairs the documents of a file, one after the other.
fn repair_file(
    file: &FileScan,
    selected: &[PolicyId],
    rewrite: bool,
    config: &RunConfig,
    gate: Option<&ServerGate>,
) -> anyhow::Result<Repaired> {
    let mut repaired = Repaired::default();
    let mut text = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(first) = file.objects.get(at) {
        let place = &first.place;
        let objects = file.objects[at..].iter().take_while(|object| object.place.piece == place.piece);
        let objects: Vec<_> = objects.collect();
        at += objects.len();
        if objects.iter().all(|object| object.findings.is_empty()) {
            continue;
        }
        let mut piece = place.text(&file.text).to_owned();
        for object in objects.iter().filter(|object| !object.findings.is_empty()) {
            let mut repair = ObjectRepair {
                file,
                place: &object.place,
                neighbours: object.neighbours.clone(),
                rewrite,
                config,
                gate,
            };
            repair.run(&mut piece, object.document.clone(), selected, &mut repaired)?;
        }
        text.push_str(&file.text[copied..place.offset]);
        text.push_str(&piece);
        copied = place.offset + place.length;
        text.push_str(missing_break(place.text(&file.text), &piece, &file.text[copied..]));
    }
    text.push_str(&file.text[copied..]);
    if text != file.text {
        repaired.text = Some(text);
    }
    Ok(repaired)
}

/// Repairs one object of a file.
struct ObjectRepair<'a> {
    file: &'a FileScan,
    place: &'a Place,
    neighbours: Neighbours,
    /// Whether a document may be written anew.
    rewrite: bool,
    config: &'a RunConfig,
    /// The server that is the schema gate.
    gate: Option<&'a ServerGate>,
}

impl ObjectRepair<'_> {
    fn run(
        &mut self,
        piece: &mut String,
        mut document: Document,
        selected: &[PolicyId],
        repaired: &mut Repaired,
    ) -> anyhow::Result<()> {
        for policy in selected {
            let view = engine::k8s::View::new(&document, &self.neighbours);
            let found = detect::found(*policy, &view, &self.config.rules);
            let (found, _) = exceptions::split(&document.value, found);
            let Some(finding) = found.first() else { continue };
            let subject = self.subject(&document, *policy);
            match attempt(&document, &self.neighbours, *policy, self.config) {
                Attempt::Accepted(proposal) => {
                    let rewritten =
                        patched_piece(piece, &self.place.pointer, &proposal.patch, &self.config.limits);
                    let rewritten = match rewritten {
                        Ok(rewritten) => rewritten,
                        Err(error) => {
                            repaired.left.push(format!("{subject}: {error}"));
                            continue;
                        }
                    };
                    let Some(next) = object_in(&rewritten.text, self.place, &self.config.limits) else {
                        repaired.left.push(format!("{subject}: the repaired document cannot be read"));
                        continue;
                    };
                    if rewritten.style == Style::Reserialised && !self.rewrite {
                        repaired.left.push(format!(
                            "{subject}: the repair is not an edit of the text (an alias, an explicit key, or too many edits): \
                             --rewrite writes the document anew, without its comments"
                        ));
                        continue;
                    }
                    let asked = Asked {
                        document: &document,
                        patched: Some(&next.value),
                        neighbours: &self.neighbours,
                        companions: &proposal.companions,
                        release: self.config.verifier.kubernetes,
                    };
                    if let Some(refusal) = self.refusal(piece, &rewritten.text, asked)? {
                        repaired.left.push(format!("{subject}: {refusal}"));
                        continue;
                    }
                    let mut notes: Vec<String> =
                        proposal.cautions.iter().map(|caution| caution.sentence().to_owned()).collect();
                    if rewritten.style == Style::Reserialised {
                        notes.push("the document had to be re-serialised: its comments are lost".to_owned());
                    }
                    let notes =
                        if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
                    repaired.applied.push(format!("{subject}: repaired{notes}"));
                    for companion in proposal.companions {
                        self.add_neighbour(&companion);
                        if !repaired.companions.contains(&companion) {
                            repaired.companions.push(companion);
                        }
                    }
                    *piece = rewritten.text;
                    document = next;
                }
                Attempt::Rejected(errors) => {
                    let why = errors.first().map_or("a gate rejected it", String::as_str);
                    repaired.left.push(format!("{subject}: no patch passes the gates: {why}"));
                }
                Attempt::NeedsReview(reason) => {
                    repaired.left.push(format!("{subject}: needs review: {reason}"));
                }
                Attempt::NotApplicable => repaired.left.push(format!("{subject}: {}", finding.message)),
            }
        }
        Ok(())
    }

    /// Why the server refuses a repair, if there is a server and it does. `before` and `after`: the text around it.
    fn refusal(&self, before: &str, after: &str, asked: Asked<'_>) -> anyhow::Result<Option<String>> {
        let Some(gate) = self.gate else { return Ok(None) };
        let of_companion = |companion| gate.judge(&yaml::to_yaml(companion));
        let opinion = ServerOpinion {
            before: gate.judge(before)?,
            after: Some(gate.judge(after)?),
            companions: asked.companions.iter().map(of_companion).collect::<anyhow::Result<_>>()?,
        };
        Ok(opinion.refusal(asked, gate.identity()))
    }

    /// Adds a companion to the neighbours of the object.
    fn add_neighbour(&mut self, companion: &Value) {
        let Ok(companion) = Document::from_value(companion.clone()) else { return };
        if let Neighbours::Known(known) = &mut self.neighbours {
            let refers = self.config.detector.is_beyond_paper();
            known.extend(neighbours::offer(&companion));
            known.extend(refers.then(|| neighbours::reference(&companion)).flatten());
            known.sort_unstable();
            known.dedup();
        }
    }

    fn subject(&self, document: &Document, policy: PolicyId) -> String {
        let identity = &document.identity;
        let name = if identity.name.is_empty() { "(unnamed)" } else { &identity.name };
        format!("{}:{}: {} {name}: {policy}", self.file.path, self.place.lines + 1, identity.kind)
    }
}

/// The object at `place` in the new text of its document.
fn object_in(piece: &str, place: &Place, limits: &Limits) -> Option<Document> {
    let whole = Document::parse(piece, limits).ok()?;
    whole.flatten().into_iter().find(|(pointer, _)| *pointer == place.pointer).map(|(_, object)| object)
}
