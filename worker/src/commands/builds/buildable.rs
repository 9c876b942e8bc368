//! A chart or an overlay that is to be rendered.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cli_support::failure::WithHint as _;
use domain::config::Limits;
use engine::yaml;
use scanners::{Renderer, RendererKind};
use serde_json::Value;

use super::built::{Build, Origin, value_of};
use super::{helm, kustomize};
use crate::findings::Located;

/// What is to be rendered.
#[derive(Debug)]
pub(in crate::commands) struct Buildable {
    pub(super) renderer: Renderer,
    /// Its folder as it was named.
    pub(super) name: String,
    /// The same, absolute and without links.
    pub(super) folder: PathBuf,
    /// Arguments behind the command.
    pub(super) arguments: Vec<OsString>,
}

impl Buildable {
    /// Which program renders it.
    pub(in crate::commands) fn kind(&self) -> RendererKind {
        self.renderer.kind()
    }

    /// Its folder as it was named.
    pub(in crate::commands) fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, absolute and without links.
    pub(in crate::commands) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Renders it, and finds the files of its documents.
    pub(in crate::commands) fn build(&self, limits: &Limits) -> anyhow::Result<Build> {
        let text = self.text()?;
        self.check(&text, limits)?;
        let pieces = yaml::split(&text).into_iter().map(|piece| piece.text.to_owned());
        let documents = match self.kind() {
            RendererKind::Helm => helm::traced(&self.name, &self.folder, pieces, limits),
            RendererKind::Kustomize => {
                kustomize::traced(&self.renderer, &self.folder, pieces.collect(), limits)
            }
        };
        let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, built) in documents.iter().enumerate() {
            let path = match &built.origin {
                Origin::File { path, .. } => path,
                Origin::Unsure(_) => &self.name,
            };
            files.entry(path.clone()).or_default().push(number);
        }
        Ok(Build { documents, files })
    }

    /// `Err`: something was written, and no object.
    fn check(&self, text: &str, limits: &Limits) -> anyhow::Result<()> {
        let pieces = yaml::split(text);
        let Some(first) = pieces.first() else { return Ok(()) };
        if pieces.iter().any(|piece| value_of(piece.text, limits).get("kind").is_some()) {
            return Ok(());
        }
        let first = first.text.lines().next().unwrap_or_default();
        let shown: String = sensitive::mask_text(first).chars().take(200).collect();
        Err(anyhow::anyhow!("{} wrote no object for {}, but: {shown}", self.kind(), self.name))
            .hint("is this the program it is taken for?")
    }

    /// What is rendered now.
    pub(in crate::commands) fn text(&self) -> anyhow::Result<String> {
        Ok(self.renderer.render(&self.name, &self.arguments)?)
    }

    /// What is rendered now, document by document; one that cannot be read as its text.
    pub(in crate::commands) fn values(&self, limits: &Limits) -> anyhow::Result<Vec<Value>> {
        let text = self.text()?;
        Ok(yaml::split(&text).into_iter().map(|piece| value_of(piece.text, limits)).collect())
    }
}

/// Findings in what a program rendered: where they stand in their source is not known.
pub(in crate::commands) fn without_places(found: Vec<Located>, kind: RendererKind) -> Vec<Located> {
    let mut found = found;
    for located in &mut found {
        located.region = None;
        located.rendered_by = Some(kind.as_str());
    }
    found
}
