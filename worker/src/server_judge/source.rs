//! Where the API server of a worker is, from the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use api_server::control_plane::{self, Options};
use api_server::{ApiServer, Definitions, Limits, Source};
use domain::api_server::KubernetesRelease;
use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::config::RunConfig;
use futures::future::BoxFuture;

use super::judge::{JudgeServer, ServerJudge, Unreachable};

/// The API server that judges the documents of runs with `verifier.depth: server` or `both`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServerArgs {
    /// Kubeconfig of the API server that judges the documents of runs with `verifier.depth` server or both; it is asked by
    /// dry runs alone. Without FILE: KUBECONFIG, ~/.kube/config, or the cluster that this pod runs in
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "", conflicts_with = "control_plane")]
    kubeconfig: Option<PathBuf>,
    /// Judge them by a throw-away API server that is started here, of this version [default: the newest that
    /// `scripts/control-plane` has built]
    #[arg(long, value_name = "VERSION", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    control_plane: Option<String>,
}

impl ServerArgs {
    /// Whether one was named.
    pub const fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.control_plane.is_some()
    }

    /// Whether it is one that is started here.
    pub const fn is_control_plane(&self) -> bool {
        self.control_plane.is_some()
    }

    /// The same, with a throw-away one of this release where no version is named.
    ///
    /// # Errors
    /// Another release is named.
    pub fn of_release(&self, release: KubernetesRelease) -> anyhow::Result<Self> {
        let Some(version) = &self.control_plane else { return Ok(self.clone()) };
        let minor = version.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".");
        anyhow::ensure!(
            version.is_empty() || minor == release.to_string(),
            "--control-plane={version} is not of the release of --kubernetes {release}: leave its version out"
        );
        let control_plane = Some(if version.is_empty() { release.to_string() } else { version.clone() });
        Ok(Self { control_plane, ..self.clone() })
    }

    /// The server that was named, else that of the environment; a throw-away one knows the definitions in `documents`.
    ///
    /// # Errors
    /// There is none, or it cannot be asked.
    pub async fn connect<D: AsRef<str>>(&self, documents: &[D]) -> anyhow::Result<ServerJudge> {
        // Without a value: the newest version, or the environment.
        let source = match (&self.kubeconfig, &self.control_plane) {
            (_, Some(version)) => {
                let version = Some(version.clone()).filter(|version| !version.is_empty());
                Source::ControlPlane(Options { version, ..Options::default() })
            }
            (Some(file), None) if !file.as_os_str().is_empty() => Source::Kubeconfig(file.clone()),
            (_, None) => Source::Environment,
        };
        let mut server = ApiServer::connect(&source, Limits::default()).await?;
        let prepared = server.prepare(documents).await.context("cannot prepare the control plane")?;
        for (name, why) in &prepared.refused {
            tracing::warn!(
                name,
                why,
                "the API server refuses a definition of the corpus: its kind stays unknown"
            );
        }
        let identity = ServerIdentity::new(server.version(), server.flags())
            .context("the API server describes itself in an odd way")?;
        Ok(ServerJudge::new(Connected { server, identity }))
    }
}

/// The documents of a corpus that define custom resources: what a throw-away server is given, so that it knows their kinds.
///
/// # Errors
/// The corpus cannot be read, or it defines too many.
pub fn definitions(source: &corpus::Source, config: &RunConfig) -> anyhow::Result<Definitions> {
    let mut found = Definitions::default();
    corpus::read::<anyhow::Error>(source, config, &mut |_, document| Ok(found.take(&document.text)?))?;
    Ok(found)
}

/// A server that is connected.
struct Connected {
    server: ApiServer,
    identity: ServerIdentity,
}

impl JudgeServer for Connected {
    fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    fn judge<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<ServerVerdict, Unreachable>> {
        Box::pin(async move { self.server.judge(text).await.map_err(|error| Unreachable(error.to_string())) })
    }
}

/// Where this process was started as the supervisor of a control plane, or of a program that proposes: runs as that. Called
/// first in `main`.
pub fn supervise() -> Option<ExitCode> {
    control_plane::supervise().or_else(proposers::supervise)
}
