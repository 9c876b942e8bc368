//! `run.json`: describes a run, beside its parts. Readers refuse an unknown format version.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use domain::api_server::ServerIdentity;
use domain::config::{Documents, RunConfig, StoredConfig};
use domain::ids::{ConfigHash, CorpusHash, PartHash, RunFileHash, RunId};
use domain::outcome::Status;
use domain::run::RunState;
use domain::scanner::ScannerVersions;
use domain::tally::ModelTally;
use serde::{Deserialize, Deserializer, Serialize};

use crate::layout::RUN_FILE;
use crate::store::{Store, StoreError};

/// Bytes of a `run.json` at most: room for the entries of some 400,000 parts.
const MAX_BYTES: usize = 64 << 20;

/// Version of the layout of `run.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormatVersion(pub u32);

impl FormatVersion {
    /// The version this program writes.
    pub const CURRENT: Self = Self(1);
}

/// What a run was, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// Version of this layout.
    pub format: FormatVersion,
    /// Names the run.
    pub run_id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// Version of the software.
    pub version: String,
    /// When the run was planned.
    #[serde(with = "rfc3339")]
    pub created_at: Option<SystemTime>,
    /// When its results were complete.
    #[serde(with = "rfc3339")]
    pub finished_at: Option<SystemTime>,
    /// How many records.
    pub records: u64,
    /// How many records ended how.
    pub counts: BTreeMap<Status, u64>,
    /// Content and order of the records.
    pub corpus_hash: CorpusHash,
    /// Where the records came from, for people.
    pub corpus: String,
    /// Which document was repaired and judged.
    pub documents: Documents,
    /// Seed of everything random.
    pub seed: u64,
    /// How many records a shard held.
    pub shard_size: u32,
    /// How many workers took part.
    pub workers: u32,
    /// Time in which a coordinator worked on the run, in seconds: from when its corpus began to arrive, or a process took
    /// it up again, to its end or that of the process; added up over the processes. The time between them does not
    /// count, and of a killed process up to 5 s are missing. `None`: not known, as of a run that began under a version
    /// that did not record it.
    pub wall_s: Option<f64>,
    /// CPU time of the coordinator and of its workers, in seconds; added up like `wall_s`. `None`: not known. It is known
    /// where one process does the whole work of one run (`coordinator run`, an import); workers elsewhere are not
    /// measured, and a coordinator that has taken up several runs cannot tell their shares.
    pub cpu_s: Option<f64>,
    /// Most memory that one process of the run held at a time, in MB (10⁶ bytes); known where `cpu_s` is.
    pub peak_rss_mb: Option<f64>,
    /// The committed parts, in the order of the corpus.
    pub parts: Vec<PartEntry>,
    /// The published files that an imported run was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<ImportedFrom>,
    /// The API server that judged the documents, where one was asked (`verifier.depth`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<ServerIdentity>,
    /// The scanners that judged the repairs besides the built-in one, with their versions (`verifier.rescan`).
    #[serde(default, skip_serializing_if = "ScannerVersions::is_empty")]
    pub rescanned_by: ScannerVersions,
    /// The models that were asked, and those that answered, with the number of their records.
    #[serde(default, skip_serializing_if = "ModelTally::is_empty")]
    pub models: ModelTally,
    /// Hash of `config`, without what decides no outcome.
    pub config_hash: ConfigHash,
    /// The resolved configuration.
    #[serde(deserialize_with = "stored_config")]
    pub config: RunConfig,
}

/// A configuration that an older release may have written.
fn stored_config<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunConfig, D::Error> {
    Ok(StoredConfig::deserialize(deserializer)?.config)
}

/// A committed part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// Its key, relative to the folder of the run.
    pub name: String,
    /// How many rows it holds.
    pub rows: u64,
    /// BLAKE3 of its bytes.
    pub hash: PartHash,
}

/// The published files behind an imported run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFrom {
    /// The detections file.
    pub detections: String,
    /// The patches file.
    pub patches: Option<String>,
    /// The verdicts file.
    pub verified: Option<String>,
    /// Entries counted while reading, which metrics of the original count: entries of each file, objects or not.
    pub entries: PublishedEntries,
}

/// Entries in the published files, invalid ones included, as the paper counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedEntries {
    /// In the detections file.
    pub detections: u64,
    /// In the patches file.
    pub patches: u64,
    /// In the verdicts file.
    pub verified: u64,
}

/// Why a `run.json` cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum RunFileError {
    /// The store cannot read or write it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A later version of the software wrote it.
    #[error(
        "{location}/{RUN_FILE} has format version {found}, this program reads up to {}: use a newer program",
        FormatVersion::CURRENT.0
    )]
    Newer { location: String, found: u64 },
    /// It is not the JSON it should be.
    #[error("{location}/{RUN_FILE} cannot be read: {reason}")]
    Malformed { location: String, reason: String },
}

impl RunFile {
    /// Reads the `run.json` of the run whose folder is `run`.
    pub async fn load(run: &Store) -> Result<Self, RunFileError> {
        Self::parse(&run.get(RUN_FILE).await?, run.location())
    }

    /// Reads the text of a `run.json`; `location` names its folder in errors.
    pub fn parse(text: &[u8], location: &str) -> Result<Self, RunFileError> {
        #[derive(Deserialize)]
        struct Head {
            format: u64,
        }
        #[derive(Deserialize)]
        struct Configured {
            config: StoredConfig,
        }
        let malformed = |reason: String| RunFileError::Malformed { location: location.to_owned(), reason };
        if text.len() > MAX_BYTES {
            return Err(malformed(format!("{} bytes are more than {MAX_BYTES}", text.len())));
        }
        // The version first: the rest may have changed its meaning.
        let head: Head = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
        if head.format > u64::from(FormatVersion::CURRENT.0) {
            return Err(RunFileError::Newer { location: location.to_owned(), found: head.format });
        }
        let file: Self = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
        // Of a file of an older release the hash is that of the configuration as it is read.
        let Configured { config } =
            serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { config_hash: config.hash_or(file.config_hash), ..file })
    }

    /// Writes it into the folder of the run, over an older one; readers see the old or the new one whole. Returns the hash of
    /// its bytes.
    pub async fn save(&self, run: &Store) -> Result<RunFileHash, RunFileError> {
        let text = self.to_json(run.location())?;
        let hash = RunFileHash::of(&text);
        run.put(RUN_FILE, text).await?;
        Ok(hash)
    }

    fn to_json(&self, location: &str) -> Result<Bytes, RunFileError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| RunFileError::Malformed {
            location: location.to_owned(),
            reason: error.to_string(),
        })?;
        text.push(b'\n');
        Ok(text.into())
    }
}

/// Times as people read them: RFC 3339, UTC, milliseconds.
mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[expect(clippy::ref_option, reason = "the signature serde calls")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| humantime::format_rfc3339_millis(time).to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| humantime::parse_rfc3339(&text).map_err(de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run_file() -> RunFile {
        let config = RunConfig::default();
        RunFile {
            format: FormatVersion::CURRENT,
            run_id: RunId::new("demo").unwrap(),
            state: RunState::Finished,
            version: "0.1.0".to_owned(),
            created_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
            finished_at: None,
            records: 3,
            counts: [(Status::Accepted, 2), (Status::NeedsReview, 1)].into(),
            corpus_hash: CorpusHash::of(b"corpus"),
            corpus: "detections.json".to_owned(),
            documents: config.documents,
            seed: config.seed,
            shard_size: 2,
            workers: 2,
            wall_s: Some(1.5),
            cpu_s: None,
            peak_rss_mb: None,
            parts: vec![PartEntry {
                name: "part-0.parquet".to_owned(),
                rows: 3,
                hash: PartHash::of(b"part"),
            }],
            imported_from: None,
            judged_by: None,
            rescanned_by: ScannerVersions::default(),
            models: ModelTally::default(),
            config_hash: config.hash(),
            config,
        }
    }

    #[tokio::test]
    async fn survives_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(folder.path()).unwrap();
        run_file().save(&store).await.unwrap();
        assert_eq!(RunFile::load(&store).await.unwrap(), run_file());
        let text = String::from_utf8(store.get(RUN_FILE).await.unwrap().to_vec()).unwrap();
        assert!(text.contains("\"created_at\": \"2023-11-14T22:13:20.123Z\""), "{text}");
        assert!(text.contains("\"needs_review\": 1"), "{text}");
    }

    #[test]
    fn a_file_of_a_release_that_kept_endpoints_in_runs_is_read() {
        let mut old = serde_json::to_value(run_file()).unwrap();
        old["config"]["grok"]["endpoint"] = "http://h".into();
        old["config"]["grok"]["api_key_env"] = "KEY".into();
        old["config_hash"] = ConfigHash::of(b"of then").to_string().into();
        assert_eq!(RunFile::parse(old.to_string().as_bytes(), "x").unwrap(), run_file());
    }

    #[test]
    fn a_newer_format_is_refused_before_anything_else_is_read() {
        let error = RunFile::parse(br#"{"format": 2, "parts": "elsewhere"}"#, "runs/x").unwrap_err();
        assert!(error.to_string().contains("use a newer program"), "{error}");
        let error = RunFile::parse(br#"{"format": 1}"#, "runs/x").unwrap_err();
        assert!(error.to_string().starts_with("runs/x/run.json cannot be read: missing field"), "{error}");
        assert!(RunFile::parse(b"\xff", "x").is_err());
    }
}
