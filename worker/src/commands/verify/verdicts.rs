//! The verdicts of `worker verify`: one row a record, in the order of the corpus, and the counts.
//!
//! With a server, rows wait until their batch is asked, so that many documents are asked at the same time.

use std::sync::Arc;

use cli_support::{Exit, output};
use domain::api_server::KubernetesRelease;
use domain::api_server::ServerIdentity;
use domain::config::GateProfile;
use domain::outcome::{Fault, Gate, Gates, Status, Verdict};
use domain::policy::PolicyName;
use domain::record::{Neighbours, Record};
use engine::document::Document;
use engine::verify::{Before, Verification};
use engine::yaml::to_yaml;
use serde_json::{Value, json};

use super::rows::Rows;
use crate::repair::verdicts;
use crate::server_gate::{Asked, ServerGate, ServerOpinion};

/// Rows that wait for a server at the same time.
const BATCH: usize = 256;
/// Bytes of documents that wait, about.
const BATCH_BYTES: usize = 16 << 20;

/// A patch as it was read, and its companions.
pub(super) struct Proposed {
    pub(super) patch: String,
    pub(super) companions: Vec<Value>,
}

/// Writes the rows, and counts.
pub(super) struct Verdicts {
    out: Rows,
    gate: Option<ServerGate>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    gates: GateProfile,
    accepted: u64,
    rejected: u64,
    /// Of the rejected, the records without a patch.
    without_patch: u64,
    faults: Vec<(Fault, u64)>,
}

/// A row that waits for a server.
struct Waiting {
    id: String,
    policy: PolicyName,
    before: Arc<str>,
    proposed: Option<Arc<Proposed>>,
    judged: Judged,
}

/// A document with what is known of it before any patch.
pub(super) struct Examined {
    pub(super) document: Document,
    pub(super) neighbours: Neighbours,
    pub(super) before: Before,
    pub(super) release: KubernetesRelease,
}

impl Verdicts {
    pub(super) fn begin(out: Rows, gate: Option<ServerGate>, gates: GateProfile) -> Self {
        let faults = Fault::ALL.iter().map(|fault| (*fault, 0)).collect();
        Self {
            out,
            gate,
            waiting: Vec::new(),
            waiting_bytes: 0,
            gates,
            accepted: 0,
            rejected: 0,
            without_patch: 0,
            faults,
        }
    }

    /// Takes the verdict on one record.
    pub(super) fn push(
        &mut self,
        record: &Record,
        text: &Arc<str>,
        proposed: Option<&Arc<Proposed>>,
        judged: Judged,
    ) -> anyhow::Result<()> {
        let row = Waiting {
            id: record.id.to_string(),
            policy: record.policy(),
            before: Arc::clone(text),
            proposed: proposed.cloned(),
            judged,
        };
        self.waiting_bytes += text.len() + row.judged.patched_yaml.as_ref().map_or(0, String::len);
        self.waiting.push(row);
        if self.gate.is_none() || self.waiting.len() >= BATCH || self.waiting_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let mut rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if let Some(gate) = &self.gate {
            ask(gate, &mut rows)?;
        }
        for row in rows {
            if row.judged.status == Status::Accepted {
                self.accepted += 1;
            } else {
                self.rejected += 1;
                let fault = row.judged.fault;
                if row.judged.is_without_patch {
                    self.without_patch += 1;
                } else {
                    let same = self.faults.iter_mut().filter(|(known, _)| *known == fault);
                    same.for_each(|(_, count)| *count += 1);
                }
            }
            let server = self.gate.as_ref().map(|gate| gate.identity().version());
            let verdict = row.judged.line(&row.id, &row.policy);
            self.out.push(&verdict, || row.judged.row(&row.id, &row.policy, server, self.gates))?;
        }
        Ok(())
    }

    /// Writes what waits, and says the counts.
    pub(super) fn end(mut self) -> anyhow::Result<Exit> {
        self.flush()?;
        self.out.end()?;
        let mut faults: Vec<String> = self
            .faults
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(fault, count)| format!("{count} by fault of the {fault}"))
            .collect();
        if self.without_patch > 0 {
            faults.push(format!("{} had no patch", self.without_patch));
        }
        let by_fault = if faults.is_empty() { String::new() } else { format!(" ({})", faults.join(", ")) };
        output::say(&format!("{} accepted, {} rejected{by_fault}", self.accepted, self.rejected));
        Ok(Exit::found(self.rejected > 0))
    }
}

/// Asks the server about the documents of rows, before and after, and their companions; decides anew.
fn ask(gate: &ServerGate, rows: &mut [Waiting]) -> anyhow::Result<()> {
    let companions: Vec<Vec<String>> = rows.iter().map(Waiting::companion_texts).collect();
    let mut texts: Vec<&str> = Vec::new();
    for (row, companions) in rows.iter().zip(&companions).filter(|(row, _)| row.is_asked()) {
        texts.push(&row.before);
        texts.extend(row.judged.patched_yaml.as_deref());
        texts.extend(companions.iter().map(String::as_str));
    }
    let mut found = gate.judge_all(&texts)?.into_iter();
    for (row, companions) in rows.iter_mut().zip(&companions).filter(|(row, _)| row.is_asked()) {
        let Some(before) = found.next() else { anyhow::bail!("a verdict is missing") };
        let after = if row.judged.patched_yaml.is_some() { found.next() } else { None };
        let companions = found.by_ref().take(companions.len()).collect();
        let proposed = row.proposed.as_deref();
        row.judged.take(ServerOpinion { before, after, companions }, proposed, gate.identity());
    }
    Ok(())
}

impl Waiting {
    /// A record that could not be processed has no document to ask about.
    fn is_asked(&self) -> bool {
        self.judged.examined.is_some()
    }

    fn companion_texts(&self) -> Vec<String> {
        if !self.is_asked() || self.judged.patched_yaml.is_none() {
            return Vec::new();
        }
        self.proposed.iter().flat_map(|proposed| &proposed.companions).map(to_yaml).collect()
    }
}

/// The verdict on one record.
pub(super) struct Judged {
    status: Status,
    fault: Fault,
    gates: Gates,
    new_violations: Vec<String>,
    collateral: Vec<String>,
    errors: Vec<String>,
    /// `None`: the record could not be processed.
    examined: Option<Arc<Examined>>,
    patched: Option<Value>,
    patched_yaml: Option<String>,
    ms: f64,
    server: Option<ServerOpinion>,
    is_without_patch: bool,
}

impl Judged {
    /// The record has no patch.
    pub(super) fn without_patch() -> Self {
        let judged = Self::failed(Fault::Proposer, "no patch for this record".to_owned());
        Self { is_without_patch: true, ..judged }
    }

    pub(super) fn failed(fault: Fault, error: String) -> Self {
        Self {
            status: Status::Error,
            fault,
            gates: Gates::NOT_RUN,
            new_violations: Vec::new(),
            collateral: Vec::new(),
            errors: vec![error],
            examined: None,
            patched: None,
            patched_yaml: None,
            ms: 0.0,
            server: None,
            is_without_patch: false,
        }
    }

    pub(super) fn of(verification: Verification, examined: &Arc<Examined>, ms: f64) -> Self {
        let accepted = verification.accepted();
        Self {
            status: if accepted { Status::Accepted } else { Status::Rejected },
            fault: if accepted { Fault::None } else { verification.fault },
            errors: verification.errors(),
            patched_yaml: verification.patched.as_ref().map(to_yaml),
            new_violations: verification.new_violations,
            collateral: verification.collateral,
            gates: verification.gates,
            examined: Some(Arc::clone(examined)),
            patched: verification.patched,
            ms,
            server: None,
            is_without_patch: false,
        }
    }

    /// Takes what a server says in the place of the embedded schema gate.
    fn take(&mut self, opinion: ServerOpinion, proposed: Option<&Proposed>, server: &ServerIdentity) {
        let Some(examined) = &self.examined else { return };
        let asked = Asked {
            document: &examined.document,
            patched: self.patched.as_ref(),
            neighbours: &examined.neighbours,
            companions: proposed.map_or(&[], |proposed| &proposed.companions),
            release: examined.release,
        };
        self.fault = opinion.decide(&mut self.gates, asked, server);
        self.status = if self.fault == Fault::None { Status::Accepted } else { Status::Rejected };
        self.errors = Gate::ALL.iter().flat_map(|gate| self.gates.of(*gate).errors.iter().cloned()).collect();
        self.server = Some(opinion);
    }

    /// The verdict for people.
    fn line(&self, id: &str, policy: &PolicyName) -> String {
        let policy = policy.as_str();
        if self.status == Status::Accepted {
            return format!("{id}  accepted  {policy}");
        }
        let why =
            if self.is_without_patch { String::new() } else { format!(", by fault of the {}", self.fault) };
        let errors: Vec<String> = self.errors.iter().map(|error| format!("\n    {error}")).collect();
        format!("{id}  {}  {policy}{why}{}", self.status, errors.concat())
    }

    /// The published columns, and further ones. `server`: the version of the server that is asked; `gates`: those that
    /// judged.
    fn row(&self, id: &str, policy: &PolicyName, server: Option<&str>, gates: GateProfile) -> Value {
        let applied = self.gates.apply.verdict == Verdict::Passed;
        // In published files, which have no "not run", the rescan of a patch that does not apply is true.
        let rescan = |gate: Gate| gate == Gate::Rescan && gates == GateProfile::Published;
        let ok = |gate: Gate| match self.gates.of(gate).verdict {
            Verdict::Passed => true,
            Verdict::Failed => false,
            Verdict::NotRun => applied || (rescan(gate) && self.examined.is_some()),
        };
        #[expect(clippy::cast_possible_truncation, reason = "whole ms, as published")]
        let latency_ms = self.ms.round() as i64;
        let mut row = json!({
            "id": id,
            "policy_id": policy.as_str(),
            "accepted": self.status == Status::Accepted,
            "ok_schema": ok(Gate::Schema),
            "ok_policy": ok(Gate::Policy),
            "ok_safety": ok(Gate::Safety),
            "ok_rescan": ok(Gate::Rescan),
            "patched_yaml": self.patched_yaml,
            "latency_ms": latency_ms,
            "errors": self.errors,
            "status": self.status,
            "fault": self.fault,
            "gates": verdicts(&self.gates),
            "new_violations": self.new_violations,
            "collateral": self.collateral,
        });
        if let Some(version) = server {
            row["server"] = json!({
                "version": version,
                "before": self.server.as_ref().map(|server| &server.before),
                "after": self.server.as_ref().and_then(|server| server.after.as_ref()),
                "companions": self.server.as_ref().map(|server| &server.companions),
            });
        }
        row
    }
}
