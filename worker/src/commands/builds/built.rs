//! What a program rendered, and where it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corpus::Inputs;
use domain::config::Limits;
use engine::document::Document;
use serde_json::Value;

/// A chart or an overlay, rendered.
#[derive(Debug)]
pub(in crate::commands) struct Build {
    /// Its documents in their order.
    pub(in crate::commands) documents: Vec<Built>,
    /// Its documents by the paths that findings name.
    pub(in crate::commands) files: BTreeMap<String, Vec<usize>>,
}

/// A rendered document.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Built {
    pub(in crate::commands) text: String,
    pub(in crate::commands) origin: Origin,
}

/// Where a rendered document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Origin {
    /// A file.
    File {
        /// Its path for people.
        path: String,
        /// The same, absolute and without links.
        file: PathBuf,
    },
    /// It is not sure: why.
    Unsure(String),
}

impl Build {
    /// Its documents as files, which cannot be written.
    pub(in crate::commands) fn inputs(&self) -> Inputs {
        Inputs::of_texts(self.files.iter().map(|(path, numbers)| (path.clone(), self.text_of(numbers))))
    }

    /// What is said of documents whose files are not sure, a line a reason.
    pub(in crate::commands) fn unsure(&self, name: &str) -> Vec<String> {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for built in &self.documents {
            if let Origin::Unsure(why) = &built.origin {
                *reasons.entry(why).or_default() += 1;
            }
        }
        let all = self.documents.len();
        let line = |(why, count): (&str, u64)| {
            format!("{name}: the file of {count} of {all} rendered documents is not sure: {why}")
        };
        reasons.into_iter().map(line).collect()
    }

    fn text_of(&self, numbers: &[usize]) -> String {
        let mut text = String::new();
        for built in numbers.iter().filter_map(|number| self.documents.get(*number)) {
            if !text.is_empty() {
                text.push_str(if text.ends_with('\n') { "---\n" } else { "\n---\n" });
            }
            text.push_str(&built.text);
        }
        text
    }
}

/// What a document means; its text where it cannot be read.
pub(in crate::commands) fn value_of(text: &str, limits: &Limits) -> Value {
    let parsed = Document::parse(text, limits);
    parsed.map_or_else(|_| Value::String(text.to_owned()), |document| document.value)
}

/// A path below the working folder as people name it, else the absolute one.
pub(super) fn from_here(file: &Path) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let below = here.and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| file.to_owned()).display().to_string()
}
