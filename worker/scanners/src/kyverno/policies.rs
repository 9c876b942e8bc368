//! The user's policies, read once: what was hashed and checked is what is applied. Their hash stands beside the version, since
//! they decide verdicts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::scanner::Scanner;

use crate::error::ScannerError;

/// Files of a folder of policies at most, and bytes of all of them.
const MOST_FILES: usize = 10_000;
const MOST_BYTES: u64 = 64 << 20;
/// Depth of folders.
const DEPTH: usize = 16;
/// Groups of the kinds that Kyverno applies.
const GROUPS: [&str; 3] = ["kyverno.io/", "policies.kyverno.io/", "admissionregistration.k8s.io/"];

/// Policies of a folder, or of one file.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    files: Arc<[PolicyFile]>,
    hash: String,
}

/// A file with policies.
#[derive(Debug)]
struct PolicyFile {
    /// As the user knows it.
    path: PathBuf,
    text: Vec<u8>,
}

impl Policies {
    /// Reads a folder to any depth, without hidden folders, which hold the tests of public sets; an error where it has no
    /// policy. Kyverno itself leaves subfolders out, without a word.
    pub(crate) fn open(folder: &str) -> Result<Self, ScannerError> {
        let none = |reason: String| ScannerError::NoPolicies { scanner: Scanner::Kyverno, reason };
        if folder.is_empty() {
            return Err(none("none are named".to_owned()));
        }
        let unreadable = |error: io::Error| none(format!("{folder} cannot be read: {error}"));
        let root = Path::new(folder);
        let mut paths = Vec::new();
        collect(root, DEPTH, &mut paths).map_err(unreadable)?;
        paths.sort_unstable();
        let (mut hasher, mut files, mut bytes) = (blake3::Hasher::new(), Vec::new(), 0);
        for path in paths {
            let text = fs::read(&path).map_err(unreadable)?;
            bytes += text.len() as u64;
            if bytes > MOST_BYTES {
                return Err(none(format!("{folder} holds more than {} MiB", MOST_BYTES >> 20)));
            }
            if !is_policy(&text) {
                continue;
            }
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            for part in [name.as_bytes(), &text[..]] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            files.push(PolicyFile { path, text });
        }
        if files.is_empty() {
            return Err(none(format!("no YAML or JSON file in {folder} holds one")));
        }
        let hash = hasher.finalize().to_hex().chars().take(16).collect();
        Ok(Self { files: files.into(), hash })
    }

    /// Beginning of a hash of all of them.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Writes them into a folder, all on one level.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (number, file) in self.files.iter().enumerate() {
            fs::write(folder.join(name(number)), &file.text)?;
        }
        Ok(())
    }

    /// A text in which the written files have the names that the user knows.
    pub(crate) fn own_names(&self, text: &str) -> String {
        let named = |text: String, (number, file): (usize, &PolicyFile)| {
            text.replace(&name(number), &file.path.display().to_string())
        };
        self.files.iter().enumerate().fold(text.to_owned(), named)
    }
}

fn name(number: usize) -> String {
    format!("policy-{number:05}.yaml")
}

/// Whether a document of the text is of a group that Kyverno applies.
fn is_policy(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut versions = text.lines().filter_map(|line| {
        let (key, value) = line.trim_start_matches(['{', ' ']).split_once(':')?;
        (key.trim_matches('"') == "apiVersion").then(|| value.trim_matches([' ', '"', '\'', ',']).to_owned())
    });
    versions.any(|version| GROUPS.iter().any(|group| version.starts_with(group)))
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let found = fs::metadata(path)?;
    if found.is_file() {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if ["yaml", "yml", "json"].contains(&extension) {
            files.push(path.to_owned());
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!("it holds more than {MOST_FILES} files")));
        }
    } else if found.is_dir() {
        if depth == 0 {
            return Err(io::Error::other(format!("its folders are more than {DEPTH} deep")));
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                collect(&entry.path(), depth - 1, files)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_policies_has_a_hash() {
        let root = tempfile::tempdir().unwrap();
        let open = || Policies::open(root.path().to_str().unwrap());
        assert!(open().unwrap_err().to_string().contains("--policies-dir"));
        assert!(Policies::open("").is_err() && Policies::open("/nonexistent").is_err());
        fs::write(root.path().join("notes.yaml"), "a: 1\n# apiVersion: kyverno.io/v1\n").unwrap();
        fs::create_dir(root.path().join(".tests")).unwrap();
        fs::write(root.path().join(".tests/p.yaml"), "apiVersion: kyverno.io/v1\n").unwrap();
        fs::write(root.path().join("test.yaml"), "apiVersion: cli.kyverno.io/v1alpha1\n").unwrap();
        assert!(open().is_err(), "files that are no policies");
        fs::create_dir(root.path().join("x")).unwrap();
        let policy = root.path().join("x/p.yaml");
        fs::write(&policy, "apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\n").unwrap();
        let first = open().unwrap();
        assert_eq!(open().unwrap().hash(), first.hash());
        fs::write(&policy, "{\"apiVersion\": \"kyverno.io/v1\",\n \"kind\": \"ClusterPolicy\"}\n").unwrap();
        assert_ne!(open().unwrap().hash(), first.hash());
        assert_eq!(first.hash().len(), 16);

        let flat = root.path().join("flat");
        first.write(&flat).unwrap();
        assert_eq!(fs::read_dir(&flat).unwrap().count(), 1);
        let own = first.own_names("failed to load file policies/policy-00000.yaml: x");
        assert!(own.ends_with("x/p.yaml: x"), "{own}");
    }
}
