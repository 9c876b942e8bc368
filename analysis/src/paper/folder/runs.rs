//! The paper's runs as results: imported like `coordinator import` does, into a temporary folder.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use domain::config::RunConfig;
use domain::ids::RunId;
use results::paper_files::Import;
use results::part::PartWriter;
use serde_json::{Value, json};

use super::files::{PaperError, PaperFolder};
use crate::load::Results;
use crate::load::cases::{self, Case};
use crate::load::files::text;

/// Rows written at once.
const STEP: usize = 1000;

/// The files of a run.
pub(in crate::paper) struct Files {
    pub(in crate::paper) detections: PathBuf,
    pub(in crate::paper) patches: Option<PathBuf>,
    pub(in crate::paper) verified: Option<PathBuf>,
}

impl PaperFolder {
    /// A larger run.
    pub(in crate::paper) fn large(&self, run: &str) -> Result<Results, PaperError> {
        let file = |name| self.run_file(run, name);
        let files = Files {
            detections: file("detections"),
            patches: Some(file("patches")),
            verified: Some(file("verified")),
        };
        self.import(run, &files)
    }

    /// The run of files of inputs. If it has no detections, one is made for each verdict (or patch), and `more` without
    /// a verdict.
    pub(in crate::paper) fn small(&self, run: &str, more: usize) -> Result<Results, PaperError> {
        let optional = |name: &str| Some(self.input(&format!("{run}_{name}"))).filter(|path| path.is_file());
        let patches = optional("patches").map(|path| self.completed(run, &path)).transpose()?;
        let verified = optional("verified");
        let detections = match optional("detections") {
            Some(path) => path,
            None => self.detections_of(run, verified.as_deref().or(patches.as_deref()), more)?,
        };
        self.import(run, &Files { detections, patches, verified })
    }

    /// Adds the missing values of `test` operations. For most runs only the number of operations was published, as
    /// `test` operations without a value, which are not a valid JSON Patch.
    pub(in crate::paper) fn completed(&self, run: &str, patches: &Path) -> Result<PathBuf, PaperError> {
        let mut entries = crate::load::files::objects(patches)?;
        let ops = entries.iter_mut().filter_map(|entry| entry.get_mut("patch")?.as_array_mut()).flatten();
        for op in ops.filter_map(Value::as_object_mut).filter(|op| op.get("op") == Some(&json!("test"))) {
            op.entry("value").or_insert(Value::Null);
        }
        self.written(&format!("{run}_patches"), &Value::Array(entries))
    }

    /// Writes detections for the entries of a file.
    pub(in crate::paper) fn detections_of(
        &self,
        run: &str,
        of: Option<&Path>,
        more: usize,
    ) -> Result<PathBuf, PaperError> {
        let entries = of.map(crate::load::files::objects).transpose()?.unwrap_or_default();
        let named = entries.iter().map(
            |entry| json!({"id": entry.get("id"), "policy_id": text(entry, "policy_id").unwrap_or_default()}),
        );
        let rest = (0..more).map(|place| json!({"id": format!("without-{place}"), "policy_id": ""}));
        self.written(&format!("{run}_detections"), &named.chain(rest).collect())
    }

    /// Writes entries into the temporary folder.
    pub(in crate::paper) fn written(&self, name: &str, entries: &Value) -> Result<PathBuf, PaperError> {
        let path = self.scratch.path().join(format!("{name}.json"));
        let wrong = |source| PaperError::Folder { path: path.clone(), source };
        std::fs::write(&path, entries.to_string()).map_err(wrong)?;
        Ok(path)
    }

    /// Imports a run into the temporary folder, once.
    pub(in crate::paper) fn import(&self, run: &str, files: &Files) -> Result<Results, PaperError> {
        let part = self.scratch.path().join(format!("{run}.parquet"));
        if !part.is_file() {
            import(run, files, &part)
                .map_err(|source| PaperError::Import { what: run.to_owned(), source })?;
        }
        Ok(Results::load(&[part.display().to_string()])?)
    }

    /// The rows of the run of files of inputs.
    pub(in crate::paper) fn cases(&self, run: &str) -> Result<Vec<Case>, PaperError> {
        Ok(cases::read(&self.small(run, 0)?)?)
    }
}

fn import(run: &str, files: &Files, part: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let name = |path: &Path| path.display().to_string();
    let mut import = Import::open(
        &name(&files.detections),
        files.patches.as_deref().map(name).as_deref(),
        files.verified.as_deref().map(name).as_deref(),
        &RunConfig::default().limits,
    )?;
    let unfinished = part.with_extension("unfinished");
    let mut writer = PartWriter::new(File::create(&unfinished)?, RunId::new(run)?)?;
    let mut outcomes = vec![];
    for imported in &mut import {
        outcomes.push(imported?.outcome);
        if outcomes.len() == STEP {
            writer.write(&outcomes)?;
            outcomes.clear();
        }
    }
    writer.write(&outcomes)?;
    writer.finish()?;
    std::fs::rename(unfinished, part)?;
    Ok(())
}
