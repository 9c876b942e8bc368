//! The documents that scanners judge, laid out as files in a folder of ours: one document a file, named by its number, so
//! that every finding names its document exactly.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domain::config::Context;
use serde_json::Value;

/// Folder of the documents' own texts, in a folder for each of theirs.
const TEXTS: &str = "texts";
/// Folder of the documents as JSON.
const VALUES: &str = "values";
/// A larger text is left out by kube-linter without a word.
const LARGE: usize = 10 << 20;

/// Documents in a folder that goes with this.
#[derive(Debug)]
pub struct Documents {
    root: tempfile::TempDir,
    context: Context,
    /// Numbers of the folders of their files.
    folders: HashMap<String, usize>,
    count: usize,
    large: Vec<usize>,
}

impl Documents {
    /// An empty folder. `context`: which documents a scanner sees as neighbours.
    pub fn new(context: Context) -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("k8s-auto-fix-scan-").tempdir()?;
        fs::create_dir(root.path().join(TEXTS))?;
        fs::create_dir(root.path().join(VALUES))?;
        Ok(Self { root, context, folders: HashMap::new(), count: 0, large: Vec::new() })
    }

    /// Adds a document of a file in `folder`: its text and what that means. Returns its number.
    pub fn add(&mut self, folder: &str, text: &str, value: &Value) -> io::Result<usize> {
        let number = self.count;
        let folder = if self.context == Context::Folder { folder } else { "" };
        let next = self.folders.len();
        let folder = if let Some(known) = self.folders.get(folder) {
            *known
        } else {
            fs::create_dir(self.texts().join(next.to_string()))?;
            self.folders.insert(folder.to_owned(), next);
            next
        };
        fs::write(self.texts().join(format!("{folder}/{number}.yaml")), text)?;
        fs::write(self.value_path(number), serde_json::to_vec(value)?)?;
        if text.len() > LARGE {
            self.large.push(number);
        }
        self.count += 1;
        Ok(number)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn texts(&self) -> PathBuf {
        self.root().join(TEXTS)
    }

    fn value_path(&self, number: usize) -> PathBuf {
        self.root().join(VALUES).join(format!("{number}.json"))
    }

    pub(crate) fn value(&self, number: usize) -> io::Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.value_path(number))?)?)
    }

    /// Documents that kube-linter leaves out for their size.
    pub(crate) fn large(&self) -> &[usize] {
        &self.large
    }

    /// A folder for one scanner to work in.
    pub(crate) fn workplace(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.root().join(name);
        if !folder.is_dir() {
            fs::create_dir(&folder)?;
        }
        Ok(folder)
    }

    /// The document that a path names: `…/17.yaml`.
    pub(crate) fn number(&self, path: &str) -> Option<usize> {
        let name = path.rsplit('/').next()?.strip_suffix(".yaml")?;
        name.parse().ok().filter(|number| *number < self.count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_lie_in_the_folders_of_their_context() {
        for (context, folders) in [(Context::Folder, [0, 1, 0]), (Context::Input, [0, 0, 0])] {
            let mut documents = Documents::new(context).unwrap();
            for (number, folder) in ["a", "b/c", "a"].into_iter().enumerate() {
                assert_eq!(documents.add(folder, "kind: Pod\n", &json!({"kind": "Pod"})).unwrap(), number);
                let path = documents.texts().join(format!("{}/{number}.yaml", folders[number]));
                assert_eq!(fs::read_to_string(&path).unwrap(), "kind: Pod\n");
                assert_eq!(documents.number(path.to_str().unwrap()), Some(number));
            }
            assert_eq!(documents.value(2).unwrap(), json!({"kind": "Pod"}));
            for other in ["texts/0/3.yaml", "texts/0/x.yaml", "0", ""] {
                assert_eq!(documents.number(other), None, "{other}");
            }
        }
    }
}
