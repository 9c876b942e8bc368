//! The tool `propose`.

use corpus::{FileScan, Positions, Scan, Scanned};
use domain::policy::PolicyId;
use rmcp::schemars::{self, JsonSchema};
use sensitive::Masks;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Call, Object};
use super::input::Manifests;
use super::work::Work;
use crate::commands::detect::counted;
use crate::commands::fix::allowed::Allowed;
use crate::commands::fix::file::repair_file;
use crate::commands::fix::repaired::{Manner, Repair, Repaired};
use crate::commands::repository::Suppressions;
use crate::findings::outcome::Outcome;
use crate::repair::verdicts;

/// The tool.
pub(super) struct Propose;

/// What it is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// YAML or JSON text of one or more objects; this or `path`
    #[serde(default)]
    text: Option<String>,
    /// A file below the root of this server, or a folder, which is searched to any depth
    #[serde(default)]
    path: Option<String>,
    /// Repair violations of these policies only (ids or aliases)
    #[serde(default)]
    policies: Vec<String>,
    /// Propose repairs too that may change how a workload runs. Without it they are named in `not_proposed`
    #[serde(default, rename = "unsafe")]
    is_unsafe: bool,
    /// Propose such repairs too if they have no other cautions than these
    #[serde(default)]
    allow: Vec<String>,
}

/// What it gives back.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Proposed {
    /// The files with violations
    files: Vec<ProposedFile>,
}

/// What is proposed for a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProposedFile {
    path: String,
    /// Patches that passed every gate. Each is for its object as the patches before it in this list leave it
    patches: Vec<ProposedPatch>,
    /// Violations without such a patch, with the reason
    not_proposed: Vec<NotProposed>,
    /// The file with all patches, its comments and layout kept; for manifests that were given as text
    repaired_text: Option<String>,
}

/// A patch that passed every gate.
#[derive(Debug, Serialize, JsonSchema)]
struct ProposedPatch {
    #[serde(flatten)]
    object: ObjectPlace,
    policy: String,
    /// RFC 6902, for the object
    patch: Vec<Object>,
    /// What a person should look at before the patch is applied
    cautions: Vec<CautionRow>,
    /// The verdict of each gate
    gates: Object,
    /// Objects that the patch needs beside the object
    companions: Vec<Object>,
    /// Whether values of secrets in `patch` or `companions` are masked, because the file and not the caller holds them. Such a
    /// repair is made by `worker fix --write`
    masked: bool,
}

/// Where an object is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct ObjectPlace {
    kind: String,
    namespace: String,
    name: String,
    /// The number of its document in the file, from 0
    document: usize,
    /// Where it is in that document (RFC 6901)
    pointer: String,
    /// Line of the document, from 1
    line: usize,
}

/// What a person should look at.
#[derive(Debug, Serialize, JsonSchema)]
struct CautionRow {
    id: &'static str,
    sentence: &'static str,
}

/// A violation without a patch.
#[derive(Debug, Serialize, JsonSchema)]
struct NotProposed {
    #[serde(flatten)]
    object: ObjectPlace,
    policy: String,
    /// `held_back` (see `unsafe` and `allow`) or `left`
    outcome: &'static str,
    reason: String,
}

impl Work for Propose {
    const NAME: &str = "propose";
    const DESCRIPTION: &str = "Propose repairs of the violations in Kubernetes manifests, as JSON Patches (RFC 6902) that passed \
        every gate: policy, safety, schema and rescan. Each has its verdicts and cautions. A violation without such a patch is \
        named with the reason. Nothing is written.";
    type Arguments = Arguments;
    type Output = Proposed;

    fn work(arguments: Arguments, call: &Call) -> anyhow::Result<(Proposed, String)> {
        let Arguments { text, path, policies, is_unsafe, allow } = arguments;
        let allowed = Allowed::new(is_unsafe, &allow).map_err(anyhow::Error::msg)?;
        let selected = call.policies(&policies)?;
        let input = Manifests { text, path }.read(call)?;
        let config = &call.shared.config;
        let manner = Manner {
            selected: &selected,
            rewrite: false,
            rendered: false,
            tracked: false,
            allowed: &allowed,
            suppressions: &Suppressions::default(),
            config,
            gate: None,
            asker: None,
            stop: Some(&call.stop),
        };
        let scan = Scan::survey(&input.files, config, selected.clone(), config.context, Positions::Left)?;
        let mut files = Vec::new();
        let mut unreadable = Vec::new();
        scan.files::<_, anyhow::Error>(
            |file| {
                let repaired = repair_file(&file, manner)?;
                let proposed = ProposedFile::new(&file, repaired, input.is_text)?;
                let problems = file.troubles.iter().map(|trouble| {
                    format!(
                        "{}: cannot be read: {}\n",
                        file.path,
                        sensitive::mask_text(&trouble.problem.message)
                    )
                });
                Ok((proposed, problems.collect::<Vec<_>>()))
            },
            |done: anyhow::Result<_>| {
                let (proposed, problems) = done?;
                call.stop.check()?;
                unreadable.extend(problems);
                if !(proposed.patches.is_empty() && proposed.not_proposed.is_empty()) {
                    files.push(proposed);
                }
                Ok(())
            },
        )?;
        let text = text_of(&files, &unreadable);
        Ok((Proposed { files }, text))
    }
}

impl ProposedFile {
    fn new(file: &FileScan, repaired: Repaired, is_text: bool) -> anyhow::Result<Self> {
        let object = |number: usize| file.objects.get(number);
        let mut patches = Vec::new();
        for repair in &repaired.repairs {
            if let Some(object) = object(repair.object) {
                patches.push(ProposedPatch::new(object, repair, is_text)?);
            }
        }
        let outcomes = repaired.outcomes.iter().filter(|(_, outcome)| !outcome.is_fixed());
        let not_proposed = outcomes.filter_map(|((number, policy), outcome)| {
            let object = object(*number)?;
            Some(NotProposed::new(object, *policy, outcome))
        });
        Ok(Self {
            path: file.path.clone(),
            patches,
            not_proposed: not_proposed.collect(),
            repaired_text: repaired.text.filter(|_| is_text),
        })
    }
}

impl ProposedPatch {
    fn new(object: &Scanned, repair: &Repair, is_text: bool) -> anyhow::Result<Self> {
        let mut patch = serde_json::to_value(&repair.patch)?;
        let mut companions = Value::Array(repair.companions.clone());
        let mut masked = false;
        if !is_text {
            let before = (patch.clone(), companions.clone());
            let (mut masks, _) = Masks::of(&object.document.value, usize::MAX);
            masks.mask_patch(&mut patch, &object.document.value);
            companions.as_array_mut().into_iter().flatten().for_each(|companion| masks.mask(companion));
            masked = before.0 != patch || before.1 != companions;
        }
        let caution = |caution: &domain::outcome::Caution| CautionRow {
            id: caution.as_str(),
            sentence: caution.sentence(),
        };
        Ok(Self {
            object: ObjectPlace::of(object),
            policy: repair.policy.to_string(),
            patch: serde_json::from_value(patch)?,
            cautions: repair.cautions.iter().map(caution).collect(),
            gates: serde_json::from_value(verdicts(&repair.gates))?,
            companions: serde_json::from_value(companions)?,
            masked,
        })
    }
}

impl NotProposed {
    fn new(object: &Scanned, policy: PolicyId, outcome: &Outcome) -> Self {
        let reason = match outcome {
            Outcome::HeldBack(cautions) => {
                let cautions: Vec<String> =
                    cautions.iter().map(|caution| format!("{caution}: {}", caution.sentence())).collect();
                format!("it may change how the workload runs ({})", cautions.join("; "))
            }
            Outcome::Left(reason) => sensitive::mask_text(reason),
            Outcome::Fixed(_) | Outcome::FixedWithOthers => outcome.sentence(false),
        };
        Self { object: ObjectPlace::of(object), policy: policy.to_string(), outcome: outcome.word(), reason }
    }
}

impl ObjectPlace {
    fn of(object: &Scanned) -> Self {
        let identity = &object.document.identity;
        Self {
            kind: identity.kind.clone(),
            namespace: identity.namespace.clone(),
            name: identity.name.clone(),
            document: object.place.piece,
            pointer: object.place.pointer.to_string(),
            line: object.place.lines + 1,
        }
    }
}

/// Most lines of the short text.
const MOST_LINES: usize = 50;

fn text_of(files: &[ProposedFile], unreadable: &[String]) -> String {
    let patches: usize = files.iter().map(|file| file.patches.len()).sum();
    let others: usize = files.iter().map(|file| file.not_proposed.len()).sum();
    let mut lines = Vec::new();
    for file in files {
        lines.extend(file.patches.iter().map(|patch| {
            let cautions: Vec<&str> = patch.cautions.iter().map(|caution| caution.id).collect();
            let cautions = if cautions.is_empty() {
                String::new()
            } else {
                format!(" (cautions: {})", cautions.join(", "))
            };
            format!("{}: {}: patch{cautions}\n", patch.object.text(&file.path), patch.policy)
        }));
        lines.extend(file.not_proposed.iter().map(|left| {
            format!("{}: {}: {}: {}\n", left.object.text(&file.path), left.policy, left.outcome, left.reason)
        }));
    }
    let beyond = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    let beyond = if beyond > 0 { format!("and {beyond} more\n") } else { String::new() };
    let unreadable: String = unreadable.iter().take(MOST_LINES).map(String::as_str).collect();
    let without = counted(others as u64, "violation");
    format!(
        "{} that passed every gate; {without} without one\n{}{beyond}{unreadable}",
        counted(patches as u64, "patch"),
        lines.concat()
    )
}

impl ObjectPlace {
    fn text(&self, path: &str) -> String {
        format!("{path}:{}: {} {}", self.line, self.kind, self.name)
    }
}
