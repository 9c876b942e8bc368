//! Writes a repaired file and the file of its companions beside it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use corpus::FileScan;
use domain::config::{Limits, RunConfig};
use engine::document::Document;
use engine::yaml;
use results::input::encoding::TextEncoding;
use results::root::Below;
use serde_json::Value;

/// The companions' file before and after the repair.
pub(super) struct Companions {
    /// Its path for people.
    pub(super) path: String,
    /// Where it lies; `None` beside what cannot be written.
    file: Option<Below>,
    /// Whether there was such a file.
    pub(super) was_there: bool,
    pub(super) old: String,
    pub(super) new: String,
    /// Whether it holds secrets.
    pub(super) private: bool,
}

/// Adds the companions that are not in their file yet; `None` when there are none.
pub(super) fn companions_of(
    file: &FileScan,
    companions: &[Value],
    config: &RunConfig,
) -> anyhow::Result<Option<Companions>> {
    if companions.is_empty() {
        return Ok(None);
    }
    let path = Path::new(&file.path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}.companions.yaml");
    let beside = file.below.as_ref().map(|below| below.beside(&name));
    let path = path.with_file_name(name).display().to_string();
    let old = match &beside {
        Some(beside) => read(beside, &config.limits).with_context(|| format!("not repaired: {path}"))?,
        None => None,
    };
    let was_there = old.is_some();
    let old = old.unwrap_or_default();
    let mut known: Vec<Document> = yaml::split(&old)
        .into_iter()
        .filter_map(|piece| Document::parse(piece.text, &config.limits).ok())
        .collect();
    let mut new = old.clone();
    let mut private = false;
    for companion in companions {
        let companion = Document::from_value(companion.clone())?;
        let identity = &companion.identity;
        private |= identity.kind == "Secret";
        if let Some(same) = known.iter().find(|known| known.identity == *identity) {
            // An existing service account will do; of a Secret the content matters, because the repair refers to it.
            anyhow::ensure!(
                same.value == companion.value || identity.kind != "Secret",
                "not repaired: {path} has a Secret {} with other content; merge them by hand or rename one",
                identity.name
            );
            continue;
        }
        if !new.is_empty() {
            if !new.ends_with('\n') {
                new.push('\n');
            }
            new.push_str("---\n");
        }
        new.push_str(&yaml::to_yaml(&companion.value));
        known.push(companion);
    }
    Ok((new != old).then_some(Companions { path, file: beside, was_there, old, new, private }))
}

/// The text of a file that is to be replaced; `None` where there is none.
fn read(file: &Below, limits: &Limits) -> anyhow::Result<Option<String>> {
    let Some(bytes) = file.read_to_replace(limits.file_bytes)? else { return Ok(None) };
    decoded(bytes).map(|(text, _)| Some(text))
}

fn decoded(bytes: Vec<u8>) -> anyhow::Result<(String, TextEncoding)> {
    let encoding = TextEncoding::of(&bytes);
    Ok((encoding.decode(bytes).context("save it as UTF-8")?, encoding))
}

/// Writes both files, the companions first, so that a reference to them is never written without them. Neither is
/// written where the other is refused. Returns the other names of the file, which were written with it.
pub(super) fn store(
    file: &FileScan,
    text: Option<&str>,
    companions: Option<&Companions>,
    limits: &Limits,
) -> anyhow::Result<Vec<PathBuf>> {
    let place = file.below.as_ref().context("is not a file that can be written")?;
    let now = place.read_to_rewrite(limits.file_bytes).context("not repaired")?;
    let now = now.map(decoded).transpose().context("not repaired")?;
    let Some((_, encoding)) = now.filter(|(now, _)| *now == file.text) else {
        anyhow::bail!("the file changed while it was repaired; run the command again");
    };
    if let Some(companions) = companions
        && let Some(beside) = &companions.file
    {
        let mode = if companions.private { 0o600 } else { 0o644 };
        beside
            .replace(companions.new.as_bytes(), mode)
            .with_context(|| format!("not repaired: {}", companions.path))?;
    }
    match text {
        Some(text) => place.rewrite(&encoding.encode(text)).context("not repaired"),
        None => Ok(Vec::new()),
    }
}
