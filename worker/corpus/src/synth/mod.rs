//! Synthetic corpora of any size for `coordinator synth`: documents from templates that break every policy, and a share of
//! hostile documents.

mod documents;
mod hostile;
mod random;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use domain::published::Detection;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::findings;
use random::Random;

/// One document in this many is hostile.
const HOSTILE_SHARE: u64 = 100;

/// Summary of a synthetic corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records in `detections.json.gz`.
    pub records: u64,
    /// Documents in `manifests.tar.gz`.
    pub documents: u64,
    /// Hostile documents among them.
    pub hostile: u64,
}

/// Writes `detections.json.gz` with exactly `records` records and `manifests.tar.gz` with their documents into `out`.
/// The same number and seed give the same files.
///
/// Records are the detector's findings in the documents, as in a real corpus. A hostile document, in which the detector
/// finds nothing, gets one record.
///
/// # Errors
/// When a file cannot be written.
pub fn write(records: u64, seed: u64, out: &Path) -> io::Result<Summary> {
    std::fs::create_dir_all(out).map_err(|error| naming("create the folder", out, &error))?;
    let mut detections = Detections::create(&out.join("detections.json.gz"))?;
    let mut manifests = Manifests::create(&out.join("manifests.tar.gz"))?;
    let mut random = Random::new(seed);
    let mut summary = Summary { records: 0, documents: 0, hostile: 0 };
    while summary.records < records {
        let number = summary.documents;
        summary.documents += 1;
        let (path, text, findings) = if random.below(HOSTILE_SHARE) == 0 {
            summary.hostile += 1;
            let (what, text) = hostile::document(&mut random);
            let finding = ("unset-cpu-requirements", format!("a hostile document: {what}"));
            (format!("manifests/hostile/{number}-{what}.yaml"), text, vec![finding])
        } else {
            let (path, text) = documents::document(&mut random, number);
            let findings = findings(&text);
            (path, text, findings)
        };
        manifests.add(&path, &text)?;
        for (policy_id, violation_text) in findings {
            if summary.records == records {
                break;
            }
            summary.records += 1;
            detections.add(&Detection {
                id: format!("{:03}", summary.records),
                manifest_path: Some(path.clone()),
                manifest_yaml: Some(text.clone()),
                policy_id: policy_id.to_owned(),
                violation_text,
            })?;
        }
    }
    detections.finish()?;
    manifests.finish()?;
    Ok(summary)
}

/// An error that names what was to be done with which path.
fn naming(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
}

/// Writer of the detections as a JSON array.
struct Detections {
    out: BufWriter<GzEncoder<std::fs::File>>,
    any: bool,
}

impl Detections {
    fn create(path: &Path) -> io::Result<Self> {
        let file = std::fs::File::create(path).map_err(|error| naming("write", path, &error))?;
        let mut out = BufWriter::new(GzEncoder::new(file, Compression::fast()));
        out.write_all(b"[")?;
        Ok(Self { out, any: false })
    }

    fn add(&mut self, detection: &Detection) -> io::Result<()> {
        self.out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        serde_json::to_writer(&mut self.out, detection)?;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.write_all(b"\n]\n")?;
        self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()?.sync_all()?;
        Ok(())
    }
}

/// Writer of a tar of the documents, without times and owners, so that equal corpora give equal files.
struct Manifests(tar::Builder<GzEncoder<std::fs::File>>);

impl Manifests {
    fn create(path: &Path) -> io::Result<Self> {
        let file = std::fs::File::create(path).map_err(|error| naming("write", path, &error))?;
        Ok(Self(tar::Builder::new(GzEncoder::new(file, Compression::fast()))))
    }

    fn add(&mut self, path: &str, text: &str) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, path, text.as_bytes())?;
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.finish()?.sync_all()?;
        Ok(())
    }
}
