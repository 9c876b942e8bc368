//! `manifest.json`: what a bundle holds, and what decides the outcomes of its run.

use std::collections::BTreeMap;

use domain::ids::{CorpusHash, RunId};
use llm::providers::Destination;
use results::layout::{CORPUS_FILE, RUN_FILE, is_final_part};
use serde::{Deserialize, Serialize};

use super::error::BundleError;

/// Names of the members that every release knows.
pub(crate) mod names {
    /// What the bundle holds.
    pub(crate) const MANIFEST: &str = "manifest.json";
    /// Three lines for people.
    pub(crate) const README: &str = "README";
    /// What may be done with it.
    pub(crate) const NOTICE: &str = "NOTICE";
    /// Recorded answers of the model.
    pub(crate) const ANSWERS: &str = "answers.jsonl";
    /// Recorded verdicts of the API server.
    pub(crate) const VERDICTS: &str = "verdicts.jsonl";
}

/// Version of the format that this program writes.
pub(super) const FORMAT: u32 = 1;

/// Members of a bundle at most.
const MOST_MEMBERS: usize = 100_000;

/// Bytes of all members at most.
const MOST_BYTES: u64 = 32 << 30;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Version of this format.
    pub(crate) format: u32,
    /// The run.
    pub(crate) run_id: RunId,
    /// Records of the run.
    pub(crate) records: u64,
    /// Fingerprint of its outcomes.
    pub(crate) fingerprint: String,
    /// What made it.
    pub(crate) versions: Versions,
    /// Its documents.
    pub(crate) corpus: CorpusNote,
    /// Where its model was asked; `None`: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Asked>,
    /// Every other member, in the order of the archive.
    pub(crate) files: Vec<Listed>,
}

/// Versions of what decides outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Versions {
    /// The release that made the run.
    pub(crate) program: String,
    /// The release that made the bundle.
    pub(crate) bundled_by: String,
    /// Format of the outcomes.
    pub(crate) results_format: u32,
    /// Release of Kubernetes that the embedded rules spoke for.
    pub(crate) kubernetes: String,
    /// The API server that judged, with its flags; empty: none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    /// Scanners that judged besides the built-in one, with their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tools: BTreeMap<String, String>,
}

/// The documents of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorpusNote {
    /// Name of the file or folder that they were read from.
    pub(crate) name: String,
    /// Hash of content and order.
    pub(crate) hash: CorpusHash,
    /// Whether the bundle holds them.
    pub(crate) included: bool,
    /// Of those that it holds, how many have what counts as a secret.
    pub(crate) with_secrets: u64,
    /// How to get them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// Where a model was asked: a part of the key of each answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// URL of chat completions.
    pub(crate) endpoint: String,
    /// Further headers of each call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
}

impl From<Destination> for Asked {
    fn from(destination: Destination) -> Self {
        Self { endpoint: destination.endpoint, headers: destination.headers }
    }
}

impl From<Asked> for Destination {
    fn from(asked: Asked) -> Self {
        Self { endpoint: asked.endpoint, headers: asked.headers }
    }
}

/// A member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// BLAKE3 of its content, in hex.
    pub(crate) blake3: String,
}

impl Manifest {
    /// Reads a manifest, its version first: the rest may have changed its meaning.
    pub(super) fn parse(text: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Head {
            format: u64,
        }
        let malformed = |error: serde_json::Error| BundleError::refused(names::MANIFEST, error.to_string());
        let head: Head = serde_json::from_slice(text).map_err(malformed)?;
        if head.format > u64::from(FORMAT) {
            return Err(BundleError::Newer { found: head.format, known: FORMAT });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(malformed)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), BundleError> {
        let refuse = |reason: String| Err(BundleError::refused(names::MANIFEST, reason));
        if self.files.len() > MOST_MEMBERS {
            return refuse(format!("it lists more than {MOST_MEMBERS} files"));
        }
        if self.bytes() > MOST_BYTES {
            return refuse(format!("its files have more than {MOST_BYTES} bytes"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for file in &self.files {
            if !is_member(&file.name) {
                return Err(BundleError::refused(&file.name, "is not a file of a bundle"));
            }
            if !seen.insert(&file.name) {
                return Err(BundleError::refused(&file.name, "is listed twice"));
            }
        }
        let needed = [RUN_FILE].into_iter().chain(self.corpus.included.then_some(CORPUS_FILE));
        for name in needed {
            if !self.has(name) {
                return Err(BundleError::Lacking { name: name.to_owned() });
            }
        }
        Ok(())
    }

    /// Whether it lists a file of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// Whether a bundle may have a file of that name, besides its manifest. None of them is a path.
fn is_member(name: &str) -> bool {
    is_final_part(name)
        || [names::README, names::NOTICE, names::ANSWERS, names::VERDICTS, RUN_FILE, CORPUS_FILE]
            .contains(&name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn manifest(files: &[(&str, &[u8])]) -> Manifest {
        let listed = |(name, content): &(&str, &[u8])| Listed {
            name: (*name).to_owned(),
            bytes: content.len() as u64,
            blake3: blake3::hash(content).to_hex().to_string(),
        };
        Manifest {
            format: FORMAT,
            run_id: RunId::new("r").unwrap(),
            records: 1,
            fingerprint: "00".repeat(32),
            versions: Versions {
                program: "0.1.0".to_owned(),
                bundled_by: "0.1.0".to_owned(),
                results_format: 2,
                kubernetes: "1.37".to_owned(),
                server: String::new(),
                tools: BTreeMap::new(),
            },
            corpus: CorpusNote {
                name: "d.json".to_owned(),
                hash: CorpusHash::of(b"x"),
                included: false,
                with_secrets: 0,
                source: None,
            },
            asked: None,
            files: files.iter().map(listed).collect(),
        }
    }

    fn parse(manifest: &Manifest) -> Result<Manifest, BundleError> {
        Manifest::parse(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn only_known_names_once_each_are_listed() {
        let good = manifest(&[("run.json", b"{}"), ("part-00000.parquet", b"x"), ("README", b"")]);
        assert_eq!(parse(&good).unwrap(), good);
        for bad in
            ["../run.json", "/etc/passwd", "part-.parquet", "part-0/1.parquet", "a", "part-1.parquet.sh"]
        {
            let error = parse(&manifest(&[("run.json", b"{}"), (bad, b"x")])).unwrap_err();
            assert!(error.to_string().contains("is not a file of a bundle"), "{bad}: {error}");
        }
        let twice = parse(&manifest(&[("run.json", b"{}"), ("run.json", b"{}")])).unwrap_err();
        assert!(twice.to_string().contains("listed twice"), "{twice}");
        let lacking = parse(&manifest(&[("README", b"")])).unwrap_err();
        assert!(lacking.to_string().contains("lacks run.json"), "{lacking}");
    }

    #[test]
    fn a_newer_format_is_refused_before_anything_else_is_read() {
        let error = Manifest::parse(br#"{"format": 2, "files": "elsewhere"}"#).unwrap_err();
        assert!(error.to_string().contains("format 2") && error.to_string().contains("newer"), "{error}");
    }

    #[test]
    fn more_than_any_run_has_is_refused() {
        let mut huge = manifest(&[("run.json", b"{}")]);
        huge.files[0].bytes = u64::MAX;
        huge.files.push(Listed { name: "README".to_owned(), ..huge.files[0].clone() });
        assert!(parse(&huge).unwrap_err().to_string().contains("bytes"));
    }
}
