//! Published files → records, documents and outcomes, in the order of the detections.

use domain::config::Limits;
use domain::ids::RecordId;
use domain::outcome::{ErrorKind, Outcome};
use domain::published::{Detection, Patch, Verified};
use domain::record::{Neighbours, Problem, Record, SourceDocument};
use serde::de::DeserializeOwned;

use super::shape::{self, Entries, Entry};
use super::spool::Spool;
use super::tally::Tally;
use crate::file_error::FileError;
use crate::run_file::PublishedEntries;

/// One record of an imported run.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The detection.
    pub record: Record,
    /// Its document.
    pub document: SourceDocument,
    /// What the published files say became of it.
    pub outcome: Outcome,
}

/// What the files held, and what found no partner. Complete when the import has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The detections file.
    pub detections: Tally,
    /// The patches file.
    pub patches: Tally,
    /// The verdicts file.
    pub verified: Tally,
    /// Ids of patches without a detection; skipped.
    pub patches_without_detection: Vec<String>,
    /// Ids of verdicts without a detection; skipped.
    pub verified_without_detection: Vec<String>,
}

impl ImportReport {
    /// The counts that metrics need beyond the rows.
    pub fn entries(&self) -> PublishedEntries {
        PublishedEntries {
            detections: self.detections.entries,
            patches: self.patches.entries,
            verified: self.verified.entries,
        }
    }
}

/// Joins the three files by id. Each may be plain or gz; the last of several entries with one id counts.
pub struct Import {
    detections: Spool,
    patches: Option<Spool>,
    verified: Option<Spool>,
    report: ImportReport,
    next: usize,
    position: u64,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Import {
    /// Reads the files through once, into temporary files; a missing file counts as empty.
    pub fn open(
        detections: &str,
        patches: Option<&str>,
        verified: Option<&str>,
        limits: &Limits,
    ) -> Result<Self, FileError> {
        let detections = Spool::read(detections, limits)?;
        let patches = patches.map(|path| Spool::read(path, limits)).transpose()?;
        let verified = verified.map(|path| Spool::read(path, limits)).transpose()?;
        let alone =
            |spool: &Option<Spool>| spool.as_ref().map_or_else(Vec::new, |spool| spool.without(&detections));
        let tally =
            |spool: &Option<Spool>| spool.as_ref().map_or_else(Tally::default, |spool| spool.tally.clone());
        let report = ImportReport {
            detections: detections.tally.clone(),
            patches: tally(&patches),
            verified: tally(&verified),
            patches_without_detection: alone(&patches),
            verified_without_detection: alone(&verified),
        };
        Ok(Self { detections, patches, verified, report, next: 0, position: 0 })
    }

    /// What the files held.
    pub fn report(&self) -> &ImportReport {
        &self.report
    }

    /// The next record, `None` at the end.
    fn advance(&mut self) -> Result<Option<Imported>, FileError> {
        while self.next < self.detections.len() {
            let index = self.next;
            self.next += 1;
            let entry = self.detections.entry(index)?;
            let detection: Detection = match typed(&entry) {
                Ok(detection) => detection,
                Err(what) => {
                    self.report.detections.malformed(format!("detection {}: {what}", index + 1));
                    continue;
                }
            };
            if !self.detections.counts(&detection.id, index) {
                continue;
            }
            let (record, document) = match self.record(detection) {
                Ok(found) => found,
                Err(what) => {
                    self.report.detections.malformed(format!("detection {}: {what}", index + 1));
                    continue;
                }
            };
            let id = record.id.as_str();
            let patch = partner::<Patch>(self.patches.as_mut(), id, &mut self.report.patches)?;
            let verified = partner::<Verified>(self.verified.as_mut(), id, &mut self.report.verified)?;
            let entries = Entries { detection: Some(entry), patch, verified };
            let outcome = shape::outcome(&record, &document, &entries);
            self.position += 1;
            return Ok(Some(Imported { record, document, outcome }));
        }
        Ok(None)
    }

    fn record(&self, detection: Detection) -> Result<(Record, SourceDocument), String> {
        let problem = detection.manifest_yaml.is_none().then(|| Problem {
            kind: ErrorKind::MissingDocument,
            message: "the published detection has no manifest_yaml".to_owned(),
        });
        let document = SourceDocument::new(detection.manifest_yaml.unwrap_or_default(), Neighbours::Unknown);
        let record = Record {
            id: RecordId::new(detection.id).map_err(|error| error.to_string())?,
            position: self.position,
            manifest_path: detection.manifest_path.unwrap_or_default(),
            document: document.hash,
            raw_policy_id: detection.policy_id,
            violation_text: detection.violation_text,
            problem,
        };
        Ok((record, document))
    }
}

impl Iterator for Import {
    type Item = Result<Imported, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The entry of `id` in another file. One of the wrong shape is reported and counts as absent.
fn partner<T: DeserializeOwned>(
    spool: Option<&mut Spool>,
    id: &str,
    tally: &mut Tally,
) -> Result<Option<Entry>, FileError> {
    let Some(entry) = spool.map(|spool| spool.by_id(id)).transpose()?.flatten() else { return Ok(None) };
    match typed::<T>(&entry) {
        Ok(_) => Ok(Some(entry)),
        Err(what) => {
            tally.malformed(format!("entry of id {id:?}: {what}"));
            Ok(None)
        }
    }
}

fn typed<T: DeserializeOwned>(entry: &Entry) -> Result<T, String> {
    T::deserialize(entry).map_err(|error| error.to_string())
}
