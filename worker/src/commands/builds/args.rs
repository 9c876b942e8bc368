//! The arguments that name charts and overlays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use domain::config::ScannersConfig;
use scanners::{Renderer, RendererKind};

use super::buildable::Buildable;
use super::{helm, kustomize};

/// Arguments that name charts and overlays.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::commands) struct BuildArgs {
    /// Folder of a chart that Helm renders, without network; may be repeated. Instead of PATH
    #[arg(long, value_name = "CHART", conflicts_with = "paths")]
    helm: Vec<PathBuf>,
    /// File of values for the charts; may be repeated, later ones win
    #[arg(long, value_name = "FILE", requires = "helm", conflicts_with = "paths")]
    values: Vec<PathBuf>,
    /// Folder of an overlay that kustomize (or kubectl) builds, without network; may be repeated. Instead of PATH
    #[arg(long, value_name = "DIR", conflicts_with = "paths")]
    kustomize: Vec<PathBuf>,
}

impl BuildArgs {
    /// Whether nothing is to be rendered.
    pub(in crate::commands) fn is_empty(&self) -> bool {
        self.helm.is_empty() && self.kustomize.is_empty()
    }

    /// The folders that are named.
    pub(in crate::commands) fn folders(&self) -> Vec<String> {
        self.helm.iter().chain(&self.kustomize).map(|folder| folder.display().to_string()).collect()
    }

    /// Finds the programs and checks what is named.
    pub(in crate::commands) fn open(&self, config: &ScannersConfig) -> anyhow::Result<Vec<Buildable>> {
        let time = Duration::from_secs(config.timeout_seconds.into());
        let mut all = Vec::new();
        if !self.helm.is_empty() {
            let renderer = Renderer::open(RendererKind::Helm, time)?;
            for chart in &self.helm {
                let folder = folder_with(chart, &["Chart.yaml"], "chart")?;
                let arguments = helm::arguments(&folder, &self.values)?;
                all.push(Buildable { renderer: renderer.clone(), name: shown(chart), folder, arguments });
            }
        }
        if !self.kustomize.is_empty() {
            let renderer = Renderer::open(RendererKind::Kustomize, time)?;
            for overlay in &self.kustomize {
                let folder = folder_with(overlay, &kustomize::NAMES, "kustomization")?;
                let arguments = vec![folder.clone().into()];
                all.push(Buildable { renderer: renderer.clone(), name: shown(overlay), folder, arguments });
            }
        }
        Ok(all)
    }
}

/// The path of a folder for people, without a slash at its end.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let short = text.trim_end_matches('/');
    if short.is_empty() { text } else { short.to_owned() }
}

/// A folder without links in its path, if it holds a file of one of these names.
fn folder_with(path: &Path, names: &[&str], what: &str) -> anyhow::Result<PathBuf> {
    let folder = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
    if names.iter().any(|name| folder.join(name).is_file()) {
        return Ok(folder);
    }
    Err(anyhow::anyhow!("{} is not the folder of a {what}: it has no {}", path.display(), names.join(" or ")))
        .hint("name the folder itself, not one above it, nor an archive")
}
