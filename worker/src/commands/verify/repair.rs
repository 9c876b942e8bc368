//! A repair that somebody made: two versions of manifests, or a patch of one object.

use std::path::Path;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use corpus::Inputs;
use domain::config::RunConfig;
use domain::outcome::{Fault, Gate, Verdict};
use domain::patch::Patch;
use domain::policy::PolicyId;
use engine::propose::smallest_patch;
use engine::steps::limited;
use engine::verify::needless_companion;
use engine::yaml::to_yaml;
use serde_json::{Value, json};

use super::objects::{self, Object, Paired};
use super::rows::Rows;
use super::target::{Clearing, Judgement, judge};
use crate::commands::stop::Stop;
use crate::repair::verdicts;
use crate::server_gate::{Asked, ServerArgs, ServerGate, ServerOpinion, definitions_in};

/// A repair, to be judged.
#[derive(Debug)]
pub(in crate::commands) struct Repair {
    /// Each object with what the repair does to it; the patch of an object that stays as it is has no operations.
    changes: Vec<(Object, Patch)>,
    /// What it brings.
    companions: Vec<Object>,
    /// What it takes away.
    gone: Vec<Object>,
    /// What it was read from, for a server that is prepared with definitions.
    paths: Vec<String>,
    /// Who says whether it clears a policy.
    clearing: Clearing,
}

/// The verdict on one object.
#[derive(Debug)]
pub(in crate::commands) struct ObjectVerdict {
    pub(in crate::commands) accepted: bool,
    /// For people.
    pub(in crate::commands) text: String,
    /// For machines.
    pub(in crate::commands) row: Value,
}

/// A changed object with its verdict.
struct Judged<'a> {
    object: &'a Object,
    patch: &'a Patch,
    companions: Vec<&'a Object>,
    judgement: Judgement,
}

impl Repair {
    /// Reads two versions, or a file and a patch of one of its objects.
    pub(super) fn read(
        files: &[String],
        patch: Option<&Path>,
        object: Option<&str>,
        clearing: Clearing,
        config: &RunConfig,
    ) -> anyhow::Result<Self> {
        let paths = files.to_vec();
        match (files, patch) {
            ([file], Some(patch)) => {
                let patch = objects::patch(patch, config.limits.record_bytes as u64)?;
                let object = objects::choose(objects::read(file, config)?, object)?;
                Ok(Self { paths, clearing, ..Self::of_patch(object, patch) })
            }
            ([before, after], None) => {
                let (before, after) = (objects::read(before, config)?, objects::read(after, config)?);
                Ok(Self { paths, clearing, ..Self::of_versions(before, after, config)? })
            }
            (_, Some(_)) => anyhow::bail!("--patch repairs one file"),
            (_, None) => Err(anyhow::anyhow!("one version of the manifest is named"))
                .hint("name it before and after the repair, or give the repair with --patch"),
        }
    }

    /// A patch of one object.
    pub(in crate::commands) fn of_patch(object: Object, patch: Patch) -> Self {
        let (companions, gone, paths) = (Vec::new(), Vec::new(), Vec::new());
        Self { changes: vec![(object, patch)], companions, gone, paths, clearing: Clearing::default() }
    }

    /// Two versions of the same objects.
    pub(in crate::commands) fn of_versions(
        before: Vec<Object>,
        after: Vec<Object>,
        config: &RunConfig,
    ) -> anyhow::Result<Self> {
        let Paired { pairs, new, gone } = objects::pair(before, after);
        let changes = pairs.into_iter().map(|(object, after)| {
            let patch = || smallest_patch(&object.document.value, &after);
            let patch = limited(config.limits.record_steps, patch)?;
            anyhow::Ok((object, patch))
        });
        let changes: Vec<_> = changes.collect::<anyhow::Result<_>>()?;
        let is_changed = changes.iter().any(|(_, patch)| !patch.is_empty());
        anyhow::ensure!(is_changed || !new.is_empty() || !gone.is_empty(), "nothing differs between the two");
        Ok(Self { changes, companions: new, gone, paths: Vec::new(), clearing: Clearing::default() })
    }

    /// Judges every object that the repair changes, and writes the verdicts. `named`: the policies that it has to clear.
    pub(super) fn judge(
        &self,
        named: &[PolicyId],
        server: &ServerArgs,
        mut out: Rows,
        mut config: RunConfig,
    ) -> anyhow::Result<Exit> {
        let gate = self.open(server, &mut config)?;
        let verdicts = self.verdicts(named, gate.as_ref(), &config, None)?;
        let rejected = verdicts.iter().filter(|verdict| !verdict.accepted).count();
        let accepted = verdicts.len() - rejected;
        for verdict in verdicts {
            out.push(&verdict.text, || verdict.row)?;
        }
        out.end()?;
        output::say(&format!("{accepted} accepted, {rejected} rejected"));
        Ok(Exit::found(rejected > 0))
    }

    /// The verdict on every object that the repair changes, brings or takes away. `gate`: the server that is the schema gate;
    /// `stop`: when the work ends early.
    pub(in crate::commands) fn verdicts(
        &self,
        named: &[PolicyId],
        gate: Option<&ServerGate>,
        config: &RunConfig,
        stop: Option<&Stop>,
    ) -> anyhow::Result<Vec<ObjectVerdict>> {
        let (judged, needless) = self.judged(named, config, stop)?;
        let mut verdicts = Vec::new();
        for mut judged in judged {
            if let Some(gate) = gate {
                judged.ask(gate, config)?;
            }
            let (accepted, text, row) = (judged.is_accepted(), judged.text(), judged.row());
            verdicts.push(ObjectVerdict { accepted, text, row });
        }
        verdicts.extend(self.gone.iter().map(|object| whole(GONE, object)));
        verdicts.extend(needless.into_iter().map(|object| whole(NEEDLESS, object)));
        Ok(verdicts)
    }

    /// The verdicts, and the companions that no object needs.
    fn judged(
        &self,
        named: &[PolicyId],
        config: &RunConfig,
        stop: Option<&Stop>,
    ) -> anyhow::Result<(Vec<Judged<'_>>, Vec<&Object>)> {
        let wanted = (named, self.clearing);
        let all: Vec<Value> = self.companions.iter().map(|object| object.document.value.clone()).collect();
        let mut taken = vec![false; all.len()];
        let mut judged = Vec::new();
        for (object, patch) in &self.changes {
            stop.map_or(Ok(()), Stop::check)?;
            let is_changed = !patch.is_empty();
            if !is_changed && all.is_empty() {
                continue;
            }
            let first = judge(object, patch, &all, wanted, config)?;
            let needed: Vec<usize> = (0..all.len())
                .filter(|at| {
                    all.get(*at).is_some_and(|value| !first.collateral.contains(&needless_companion(value)))
                })
                .collect();
            // An object that stays as it is takes part where a companion clears a policy of it.
            let clears = !first.policies.is_empty() && first.gates.policy.verdict != Verdict::Failed;
            if !is_changed && (needed.is_empty() || !clears) {
                continue;
            }
            for (at, taken) in taken.iter_mut().enumerate() {
                *taken |= needed.contains(&at);
            }
            let own: Vec<Value> = needed.iter().filter_map(|at| all.get(*at).cloned()).collect();
            let judgement =
                if own.len() == all.len() { first } else { judge(object, patch, &own, wanted, config)? };
            let companions = needed.iter().filter_map(|at| self.companions.get(*at)).collect();
            judged.push(Judged { object, patch, companions, judgement });
        }
        let left = self.companions.iter().zip(taken).filter(|(_, taken)| !taken);
        Ok((judged, left.map(|(object, _)| object).collect()))
    }

    fn open(&self, server: &ServerArgs, config: &mut RunConfig) -> anyhow::Result<Option<ServerGate>> {
        let Some(source) = server.source() else { return Ok(None) };
        let inputs = Inputs::open(&self.paths, &config.limits)?;
        let gate = ServerGate::open(&source, config, &definitions_in(&inputs, &source, config)?)?;
        // The server is the schema gate.
        config.verifier.disabled_gates.insert(Gate::Schema);
        Ok(Some(gate))
    }
}

const GONE: &str = "the repair takes the object away";
const NEEDLESS: &str = "the repair brings the object and nothing needs it";

/// The verdict on an object that is rejected as a whole.
fn whole(why: &str, object: &Object) -> ObjectVerdict {
    let identity = &object.document.identity;
    let row = json!({
        "path": object.path, "line": object.line, "kind": identity.kind, "namespace": identity.namespace,
        "name": identity.name, "accepted": false, "status": "rejected", "fault": Fault::Patch, "errors": [why],
    });
    ObjectVerdict { accepted: false, text: format!("{}: rejected\n  {why}", object.place()), row }
}

impl Judged<'_> {
    fn is_accepted(&self) -> bool {
        self.judgement.gates.first_failed().is_none()
    }

    /// Puts what a server says in the place of the embedded schema gate.
    fn ask(&mut self, gate: &ServerGate, config: &RunConfig) -> anyhow::Result<()> {
        let judgement = &mut self.judgement;
        let companions: Vec<Value> =
            self.companions.iter().map(|companion| companion.document.value.clone()).collect();
        let judge = |value: &Value| gate.judge(&to_yaml(value)).context("no verdict of the API server");
        let opinion = ServerOpinion {
            before: judge(&self.object.document.value)?,
            after: judgement.patched.as_ref().map(&judge).transpose()?,
            companions: companions.iter().map(&judge).collect::<anyhow::Result<_>>()?,
        };
        let asked = Asked {
            document: &self.object.document,
            patched: judgement.patched.as_ref(),
            neighbours: &self.object.neighbours,
            companions: &companions,
            release: config.verifier.kubernetes,
        };
        judgement.fault = opinion.decide(&mut judgement.gates, asked, gate.identity());
        Ok(())
    }

    fn text(&self) -> String {
        let Judgement { policies, left, gates, fault, beyond, .. } = &self.judgement;
        let list = |ids: &[PolicyId]| ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
        let mut lines = Vec::new();
        if self.is_accepted() {
            lines.push(format!("{}: accepted", self.object.place()));
            lines.push(format!("  clears {}", list(policies)));
        } else {
            lines.push(format!("{}: rejected, by fault of the {fault}", self.object.place()));
            if !policies.is_empty() {
                lines.push(format!("  judged for {}", list(policies)));
            }
        }
        lines.extend(self.companions.iter().map(|companion| format!("  with {}", companion.place())));
        let verdicts = Gate::ALL.iter().map(|gate| {
            let word = match gates.of(*gate).verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "FAILED",
                Verdict::NotRun => "not run",
            };
            format!("{gate} {word}")
        });
        lines.push(format!("  {}", verdicts.collect::<Vec<_>>().join(", ")));
        for gate in Gate::ALL {
            lines.extend(gates.of(*gate).errors.iter().map(|error| format!("  {gate}: {error}")));
        }
        if !left.is_empty() {
            lines.push(format!("  not cleared, and not judged: {}", list(left)));
        }
        if !beyond.is_empty() {
            lines.push(format!(
                "  note: a run demands more of a repair (--gates strict): {}",
                beyond.join("; ")
            ));
        }
        sensitive::mask_text(&lines.join("\n"))
    }

    fn row(&self) -> Value {
        let Judgement { policies, left, gates, fault, collateral, new_violations, beyond, .. } =
            &self.judgement;
        let identity = &self.object.document.identity;
        let errors: Vec<&String> = Gate::ALL.iter().flat_map(|gate| &gates.of(*gate).errors).collect();
        let companions: Vec<String> = self.companions.iter().map(|companion| companion.place()).collect();
        json!({
            "path": self.object.path,
            "line": self.object.line,
            "kind": identity.kind,
            "namespace": identity.namespace,
            "name": identity.name,
            "accepted": self.is_accepted(),
            "status": if self.is_accepted() { "accepted" } else { "rejected" },
            "fault": fault,
            "policies": policies,
            "not_cleared": left,
            "gates": verdicts(gates),
            "errors": errors,
            "new_violations": new_violations,
            "beyond": beyond,
            "collateral": collateral,
            "patch": self.patch,
            "companions": companions,
        })
    }
}
