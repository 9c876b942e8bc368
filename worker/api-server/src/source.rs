//! Where the server is that is asked.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::control_plane::Options;
use crate::error::ConnectError;

/// Where the server is that is asked.
#[derive(Debug, Clone)]
pub enum Source {
    /// The current context of a kubeconfig.
    Kubeconfig(PathBuf),
    /// The kubeconfig that `KUBECONFIG` names, `~/.kube/config`, or the cluster of this pod.
    Environment,
    /// A control plane of our own, for as long as it is used.
    ControlPlane(Options),
}

/// Reads a kubeconfig.
pub(crate) async fn from_file(path: &Path) -> Result<kube::Config, ConnectError> {
    let wrong = |source: KubeconfigError| ConnectError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(wrong)
}

/// What the environment names. Not `Config::infer`: that reads variables for debugging, which name another server.
pub(crate) async fn from_environment() -> Result<kube::Config, ConnectError> {
    let kubeconfig = match kube::Config::from_kubeconfig(&KubeConfigOptions::default()).await {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    kube::Config::incluster().map_err(|in_cluster| ConnectError::Environment {
        kubeconfig: Box::new(kubeconfig),
        in_cluster: Box::new(in_cluster),
    })
}
