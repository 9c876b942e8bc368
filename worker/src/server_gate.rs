//! The schema gate at the depth of a server, for the commands on files: who is asked, and what its verdicts mean for a
//! repair.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use api_server::control_plane::Options;
use api_server::{ApiServer, Definitions, Limits, Source};
use cli_support::failure::WithHint;
use cli_support::output;
use corpus::Inputs;
use domain::api_server::KubernetesRelease;
use domain::api_server::{ServerAnswer, ServerIdentity, ServerVerdict};
use domain::config::RunConfig;
use domain::ids::DocumentHash;
use domain::outcome::{Fault, Gate, GateResult, Gates};
use domain::record::Neighbours;
use engine::document::Document;
use engine::verify::{ServerResult, decide, fault};
use engine::yaml;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::server_judge::{Memory, admit};

/// Refused definitions that are named.
const NAMED: usize = 5;

/// Which API server is asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerArgs {
    /// Ask the API server of this kubeconfig, in dry runs; nothing is written to the cluster
    #[arg(long, value_name = "FILE", conflicts_with = "control_plane", help_heading = "API server")]
    kubeconfig: Option<PathBuf>,
    /// Ask a throw-away control plane of this version (1.37 or 1.37.2) [default version: the newest that is there, see
    /// scripts/control-plane]
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help_heading = "API server"
    )]
    control_plane: Option<String>,
}

impl ServerArgs {
    /// The server that was named.
    pub(crate) fn source(&self) -> Option<Source> {
        if let Some(path) = &self.kubeconfig {
            return Some(Source::Kubeconfig(path.clone()));
        }
        let version = self.control_plane.as_ref()?;
        let version = (!version.is_empty()).then(|| version.clone());
        Some(Source::ControlPlane(Options { version, supervisor: None }))
    }
}

/// The definitions of custom resources in files, for a control plane; another server has its own.
pub(crate) fn definitions_in(
    inputs: &Inputs,
    server: &Source,
    config: &RunConfig,
) -> anyhow::Result<Definitions> {
    let mut definitions = Definitions::default();
    if matches!(server, Source::ControlPlane(_)) {
        inputs.batches::<anyhow::Error>(&config.limits, |files| {
            let texts = files.iter().flat_map(|file| file.content.iter());
            texts.flat_map(|text| yaml::split(text)).try_for_each(|piece| Ok(definitions.take(piece.text)?))
        })?;
    }
    Ok(definitions)
}

/// A server, asked from threads that may wait. Dropping it ends a control plane.
pub(crate) struct ServerGate {
    runtime: Runtime,
    server: Option<ApiServer>,
    identity: ServerIdentity,
    in_flight: usize,
    known: Mutex<Memory>,
}

impl ServerGate {
    /// Connects to a server, and says which. A control plane is started, and prepared with the definitions of the corpus.
    pub(crate) fn open(
        source: &Source,
        config: &RunConfig,
        definitions: &Definitions,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !config.verifier.disabled_gates.contains(&Gate::Schema),
            "an API server is asked for the schema gate, and that gate is disabled"
        );
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let limits = Limits { document: config.limits, ..Limits::default() };
        let in_flight = limits.in_flight;
        if matches!(source, Source::ControlPlane(_)) {
            output::say("starting a control plane");
        }
        let opened = runtime.block_on(async {
            let mut server = ApiServer::connect(source, limits).await?;
            let prepared =
                server.prepare(definitions.texts()).await.context("cannot prepare the control plane")?;
            anyhow::Ok((server, prepared))
        });
        let (server, prepared) = opened
            .context("no API server")
            .hint("leave the server's options out to verify with the embedded rules")?;
        let url = runtime.block_on(server.url());
        output::say(&format!("schema gate: API server {} at {url}", server.version()));
        if prepared.definitions > 0 {
            output::say(&format!("{} custom resource definitions installed", prepared.definitions));
        }
        for (name, why) in prepared.refused.iter().take(NAMED) {
            output::say(&format!("not installed: custom resource definition {name}: {why}"));
        }
        let identity = ServerIdentity::new(server.version(), server.flags())
            .context("the API server describes itself in an odd way")?;
        Ok(Self { runtime, server: Some(server), identity, in_flight, known: Mutex::default() })
    }

    /// Which server it is.
    pub(crate) fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    /// The verdict on a text.
    pub(crate) fn judge(&self, text: &str) -> anyhow::Result<ServerVerdict> {
        let mut found = self.judge_all(&[text])?;
        found.pop().context("no verdict")
    }

    /// The verdicts on texts, in their order. They are asked at the same time.
    pub(crate) fn judge_all(&self, texts: &[&str]) -> anyhow::Result<Vec<ServerVerdict>> {
        let hashes: Vec<DocumentHash> = texts.iter().map(|text| DocumentHash::of(text.as_bytes())).collect();
        let mut found: HashMap<DocumentHash, ServerVerdict> = HashMap::new();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = |hash: &DocumentHash| Some((*hash, known.get(hash)?.clone()));
            found.extend(hashes.iter().filter_map(known));
        }
        let mut open: Vec<(DocumentHash, &str)> = hashes
            .iter()
            .copied()
            .zip(texts.iter().copied())
            .filter(|(hash, _)| !found.contains_key(hash))
            .collect();
        open.sort_unstable_by_key(|(hash, _)| *hash);
        open.dedup_by_key(|(hash, _)| *hash);
        let Some(server) = &self.server else { anyhow::bail!("the server was ended") };
        let asked = futures::stream::iter(open)
            .map(|(hash, text)| async move { server.judge(text).await.map(|verdict| (hash, verdict)) })
            .buffer_unordered(self.in_flight)
            .try_collect::<Vec<_>>();
        let asked = self.runtime.block_on(asked).context("the API server gave no verdict")?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (hash, verdict) in asked {
            known.put(hash, verdict.clone());
            found.insert(hash, verdict);
        }
        hashes.iter().map(|hash| found.get(hash).cloned().context("no verdict")).collect()
    }
}

impl Drop for ServerGate {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

/// What a server says of a repair.
#[derive(Debug, Clone)]
pub(crate) struct ServerOpinion {
    /// Of the document as it was written.
    pub(crate) before: ServerVerdict,
    /// Of the patched document; `None`: the patch does not apply.
    pub(crate) after: Option<ServerVerdict>,
    /// Of the companions.
    pub(crate) companions: Vec<ServerVerdict>,
}

/// The repair that a server was asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The unpatched document.
    pub(crate) document: &'a Document,
    /// The patched one; `None`: the patch does not apply.
    pub(crate) patched: Option<&'a Value>,
    /// Related objects of the same input.
    pub(crate) neighbours: &'a Neighbours,
    /// What the repair brings.
    pub(crate) companions: &'a [Value],
    /// The release of the configuration.
    pub(crate) release: KubernetesRelease,
}

impl ServerOpinion {
    /// Puts the opinion in the place of the embedded schema gate; returns the fault that all gates give. `server`: whose
    /// opinion it is.
    pub(crate) fn decide(&self, gates: &mut Gates, asked: Asked<'_>, server: &ServerIdentity) -> Fault {
        gates.schema_before = GateResult::from_errors(self.before.errors());
        gates.schema = GateResult::NOT_RUN;
        let (Some(after), Some(patched)) = (&self.after, asked.patched) else {
            return fault(gates, asked.document, asked.release);
        };
        let companions: Vec<_> = self.companions.iter().map(ServerAnswer::of).collect();
        let after = ServerResult::new(server.version().into(), after);
        let after = admit(after, patched, asked.neighbours, asked.companions, server);
        decide(gates, asked.document, &companions.iter().collect::<Vec<_>>(), &after.answer, asked.release)
    }

    /// Why a repair is refused, in the server's words.
    pub(crate) fn refusal(&self, asked: Asked<'_>, server: &ServerIdentity) -> Option<String> {
        let mut gates = Gates::NOT_RUN;
        let version = server.version();
        let who = match self.decide(&mut gates, asked, server) {
            Fault::None => return None,
            Fault::Environment => format!("the API server {version} cannot judge the document"),
            Fault::Document => {
                format!("the API server {version} refuses the document, with the repair and without")
            }
            Fault::Patch | Fault::Proposer => {
                format!("the API server {version} refuses the repaired document")
            }
        };
        Some(format!("{who}: {}", gates.schema.errors.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use domain::api_server::ServerClass::{self, Accepted, Conflict, Invalid, StrictDecoding, UnknownKind};
    use domain::outcome::Verdict;
    use serde_json::json;

    use super::*;

    fn verdict(class: ServerClass) -> ServerVerdict {
        let message = (!class.accepts()).then(|| format!("its words: {}", class.as_str()));
        ServerVerdict { class, code: 0, causes: Vec::new(), message, warnings: Vec::new() }
    }

    /// Fault and verdict of a repair of a Pod that names a service account.
    fn decided(
        before: ServerClass,
        after: Option<ServerClass>,
        companions: &[ServerClass],
        flags: &str,
        gates: &mut Gates,
    ) -> (Fault, Verdict) {
        let pod = json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {"serviceAccountName": "runner"}});
        let document = Document::from_value(pod.clone()).expect("a document");
        let companions = companions.iter().map(|class| verdict(*class)).collect();
        let opinion = ServerOpinion { before: verdict(before), after: after.map(verdict), companions };
        let server = ServerIdentity::new("v1.37.2", flags).expect("an identity");
        let asked = Asked {
            document: &document,
            patched: after.map(|_| &pod),
            neighbours: &Neighbours::Unknown,
            companions: &[],
            release: KubernetesRelease::NEWEST,
        };
        (opinion.decide(gates, asked, &server), gates.schema.verdict)
    }

    #[test]
    fn a_refusal_has_the_fault_of_who_caused_it() {
        let fault = |before, after, companions: &[ServerClass]| {
            decided(before, Some(after), companions, "", &mut { Gates::NOT_RUN })
        };
        assert_eq!(fault(Accepted, Conflict, &[]), (Fault::None, Verdict::Passed));
        assert_eq!(fault(Accepted, Invalid, &[]), (Fault::Patch, Verdict::Failed));
        assert_eq!(fault(StrictDecoding, StrictDecoding, &[]), (Fault::Document, Verdict::Failed));
        assert_eq!(fault(Invalid, Accepted, &[]), (Fault::None, Verdict::Passed));
        assert_eq!(fault(UnknownKind, UnknownKind, &[]), (Fault::Environment, Verdict::Failed));
        assert_eq!(fault(Accepted, Accepted, &[Invalid]), (Fault::Patch, Verdict::Failed));
        assert_eq!(fault(Invalid, Invalid, &[Accepted]), (Fault::Document, Verdict::Failed));
    }

    #[test]
    fn an_account_that_nobody_makes_is_looked_up_where_the_server_does_not() {
        let without = "--disable-admission-plugins=ServiceAccount";
        let found = |flags| decided(Accepted, Some(Accepted), &[], flags, &mut { Gates::NOT_RUN });
        assert_eq!(found(without), (Fault::Environment, Verdict::Failed));
        assert_eq!(found("cluster=1"), (Fault::None, Verdict::Passed));
    }

    #[test]
    fn a_patch_that_does_not_apply_is_not_asked_about() {
        let mut gates = Gates::NOT_RUN;
        gates.apply = GateResult::from_errors(vec!["no such path".to_owned()]);
        assert_eq!(decided(Invalid, None, &[], "", &mut gates), (Fault::Patch, Verdict::NotRun));
        assert_eq!(gates.schema_before.errors, ["its words: invalid"]);
    }
}
