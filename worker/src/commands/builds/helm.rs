//! Charts: how Helm is called, and which template a document comes from (`# Source:`, which `helm template` writes first in
//! every manifest).

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use domain::config::Limits;
use engine::document::Document;

use super::built::{Built, Origin};

/// The name under which every chart is rendered.
const RELEASE: &str = "release-name";

/// Most bytes of a Chart.yaml.
const MOST_BYTES: u64 = 1 << 20;

/// The arguments behind `helm template`.
pub(super) fn arguments(chart: &Path, values: &[PathBuf]) -> anyhow::Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = vec![RELEASE.into(), chart.into(), "--include-crds".into()];
    for file in values {
        // Helm would fetch what looks like an address.
        let path =
            file.canonicalize().with_context(|| format!("cannot open the values {}", file.display()))?;
        arguments.extend(["--values".into(), path.into()]);
    }
    Ok(arguments)
}

/// The documents of a rendering with their templates.
pub(super) fn traced(
    name: &str,
    folder: &Path,
    pieces: impl Iterator<Item = String>,
    limits: &Limits,
) -> Vec<Built> {
    let chart = name_of(folder, limits);
    pieces
        .map(|text| {
            let origin = origin(&text, chart.as_deref(), name, folder);
            Built { text, origin }
        })
        .collect()
}

/// The name of a chart.
fn name_of(folder: &Path, limits: &Limits) -> Option<String> {
    let file = folder.join("Chart.yaml");
    let is_small = std::fs::metadata(&file).is_ok_and(|found| found.len() <= MOST_BYTES);
    let text = std::fs::read_to_string(file).ok().filter(|_| is_small)?;
    let document = Document::parse(&text, limits).ok()?;
    document.value.get("name")?.as_str().map(str::to_owned)
}

fn origin(text: &str, chart: Option<&str>, name: &str, folder: &Path) -> Origin {
    let unsure = |why: &str| Origin::Unsure(why.to_owned());
    let first = text.lines().next().unwrap_or_default();
    let Some(source) = first.strip_prefix("# Source: ") else {
        return unsure("Helm names no template of it");
    };
    let (source, mut parts) = (source.trim(), Path::new(source.trim()).components());
    let is_own =
        matches!(parts.next(), Some(Component::Normal(first)) if chart.is_some_and(|chart| first == chart));
    let below = parts.as_path().to_owned();
    if !is_own || !below.components().all(|part| matches!(part, Component::Normal(_))) {
        return Origin::Unsure(format!("Helm names its template {source}, which is not one of the chart"));
    }
    let file = folder.join(&below);
    // A packed chart, and one under an alias, have no such file. A link may lead anywhere.
    match file.canonicalize() {
        Ok(real) if real == file && real.is_file() => {
            Origin::File { path: format!("{name}/{}", below.display()), file }
        }
        _ => Origin::Unsure(format!("Helm names its template {source}, which is not a file of the chart")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_named_only_where_it_is_sure() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("templates")).unwrap();
        std::fs::write(folder.join("Chart.yaml"), "name: shop\nversion: 1.0.0\n").unwrap();
        std::fs::write(folder.join("templates/a.yaml"), "kind: Pod\n").unwrap();
        std::os::unix::fs::symlink("a.yaml", folder.join("templates/link.yaml")).unwrap();
        let text = |source: &str| format!("# Source: {source}\nkind: Pod\n");
        let pieces = [
            text("shop/templates/a.yaml"),
            text("shop/templates/b.yaml"),
            text("other/templates/a.yaml"),
            text("shop/../templates/a.yaml"),
            text("shop/templates/link.yaml"),
            "kind: Pod\n# Source: shop/templates/a.yaml\n".to_owned(),
        ];
        let found = traced("charts/shop", &folder, pieces.into_iter(), &Limits::default());
        let file = Origin::File {
            path: "charts/shop/templates/a.yaml".to_owned(),
            file: folder.join("templates/a.yaml"),
        };
        assert_eq!(found[0].origin, file);
        for built in &found[1..] {
            assert!(matches!(built.origin, Origin::Unsure(_)), "{built:?}");
        }
    }
}
