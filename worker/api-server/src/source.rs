//! Where the server is that is asked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hyper_util::client::proxy::matcher::Matcher;
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

/// The proxy of a server: of those that the environment names, none where `NO_PROXY` or this machine is meant.
pub(crate) fn proxy(config: &kube::Config) -> Option<http::Uri> {
    let proxy = config.proxy_url.clone()?;
    if is_here(config.cluster_url.host().unwrap_or_default()) {
        return None;
    }
    let named =
        |name| std::env::var(name).is_ok_and(|url| url.parse::<http::Uri>().is_ok_and(|url| url == proxy));
    let of_environment = named("HTTPS_PROXY") || named("https_proxy");
    (!of_environment || Matcher::from_env().intercept(&config.cluster_url).is_some()).then_some(proxy)
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_asked_without_a_proxy() {
        let asked = |url: &str| {
            let mut config = kube::Config::new(url.parse().expect("a URL"));
            config.proxy_url = Some("http://proxy.example:3128".parse().expect("a URL"));
            proxy(&config).is_some()
        };
        assert!(
            !asked("https://127.0.0.1:6443")
                && !asked("https://[::1]:6443")
                && !asked("http://localhost:8080")
        );
        assert!(asked("https://cluster.example"), "the proxy of a kubeconfig");
    }
}
