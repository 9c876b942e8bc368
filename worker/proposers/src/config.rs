//! The programs of this machine: what a name in a run stands for.
//!
//! *Invariant*: a run names a program; nothing that arrives from elsewhere names a command, a file or an environment variable.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::config::is_program_name;
use engine::propose::program::Secrets;
use serde::{Deserialize, Serialize};

/// How records are given to a program, and answers taken from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// One process for many records: a JSON object a line on its standard input, one on its standard output for each.
    #[default]
    Jsonl,
    /// A process and a folder for each record: `manifest.yaml` and `record.json`; or a process for many records, each in a
    /// folder of its own ([`ProgramConfig::records_per_process`]).
    Folder,
}

/// The document in a folder.
pub(crate) const MANIFEST: &str = "manifest.yaml";
/// What stands for the record's policy in an argument.
pub(crate) const POLICY: &str = "{policy_id}";
/// What stands for the record's folder in an argument.
pub(crate) const RECORD: &str = "{record}";

/// Where a program of protocol `folder` leaves the repaired document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerPlace {
    /// In a file, by default `manifest.yaml`, edited in place.
    #[default]
    File,
    /// On its standard output.
    Stdout,
    /// In one file beside the folders of the records: a document for each, recognised by its kind, namespace and name. Two
    /// documents that have them in common are never given to one process.
    Documents,
}

/// A program that may propose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProgramConfig {
    /// The program and its arguments. `{policy_id}` in an argument of protocol `folder` stands for the record's policy. An
    /// argument with `{record}` is given once for each record of a process, with the name of the record's folder.
    pub command: Vec<String>,
    /// Arguments that make the program say its version; empty: it is not asked.
    pub version_args: Vec<String>,
    /// What it has to say then.
    pub version: String,
    /// The policies that it repairs: it is not started for a record of another; empty: all.
    pub policies: Vec<String>,
    /// How records and answers are exchanged.
    pub protocol: Protocol,
    /// Where the answer is, for protocol `folder`.
    pub answer: AnswerPlace,
    /// The file that the answer is in, for `answer: file` and `answer: documents`.
    pub answer_file: String,
    /// Most records that one process of protocol `folder` is given. A process that fails is repeated by halves, until the
    /// record is known that it fails on.
    pub records_per_process: u32,
    /// Exit codes of protocol `folder` that stand for an answer.
    pub exit_codes: Vec<i32>,
    /// Files and folders that are copied to where the program is started.
    pub files: Vec<PathBuf>,
    /// Environment variables that the program is given besides `PATH`.
    pub environment: Vec<String>,
    /// How it is shown the secrets of a document.
    pub secrets: Secrets,
    /// Most processes of it at the same time.
    pub processes: u32,
    /// Longest that an answer may take, in seconds; of protocol `folder`, all answers of a process together.
    pub timeout_seconds: u32,
    /// Most memory of a process and all its children, in MiB.
    pub memory_mib: u32,
    /// Most children of a process.
    pub children: u32,
    /// Most files that a process may have open.
    pub open_files: u32,
    /// Longest file that it may write, in MiB.
    pub file_mib: u32,
    /// Longest answer, in bytes.
    pub answer_bytes: u32,
}

impl Default for ProgramConfig {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            version_args: Vec::new(),
            version: String::new(),
            policies: Vec::new(),
            protocol: Protocol::default(),
            answer: AnswerPlace::default(),
            answer_file: MANIFEST.to_owned(),
            records_per_process: 1,
            exit_codes: vec![0],
            files: Vec::new(),
            environment: Vec::new(),
            secrets: Secrets::default(),
            processes: 2,
            timeout_seconds: 60,
            memory_mib: 2048,
            children: 64,
            open_files: 1024,
            file_mib: 256,
            answer_bytes: 4 << 20,
        }
    }
}

/// The programs of this machine by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Programs(pub BTreeMap<String, ProgramConfig>);

/// Why a program cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum ProgramError {
    /// The settings cannot be read.
    #[error("programs: {0}")]
    Unreadable(String),
    /// A setting is not valid.
    #[error("programs.{name}.{key}: {reason}")]
    Invalid { name: String, key: &'static str, reason: String },
    /// This machine does not have it.
    #[error(
        "there is no program {name} here{others}: set programs.{name}.command in the configuration of the worker (--config), or \
         choose another with proposer.program"
    )]
    Missing { name: String, others: String },
}

impl Programs {
    /// Reads the programs of a configuration.
    pub fn from_value(value: serde_json::Value) -> Result<Self, ProgramError> {
        serde_json::from_value(value).map_err(|error| ProgramError::Unreadable(error.to_string()))
    }

    /// Checks every program. `keys` are the environment variables that hold keys of providers: no program is given one.
    pub fn check(&self, keys: &[String]) -> Result<(), ProgramError> {
        for (name, config) in &self.0 {
            config.check(name, keys)?;
        }
        Ok(())
    }

    /// The program of this name.
    pub fn get(&self, name: &str) -> Result<&ProgramConfig, ProgramError> {
        self.0.get(name).ok_or_else(|| {
            let others: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let others =
                if others.is_empty() { String::new() } else { format!(" (there is {})", others.join(", ")) };
            ProgramError::Missing { name: name.to_owned(), others }
        })
    }
}

impl ProgramConfig {
    fn check(&self, name: &str, keys: &[String]) -> Result<(), ProgramError> {
        let refuse = |key, reason: String| Err(ProgramError::Invalid { name: name.to_owned(), key, reason });
        if !is_program_name(name) {
            let reason = "a program is named by letters, digits, dots, dashes and underscores";
            return refuse("command", reason.to_owned());
        }
        if self.command.first().is_none_or(String::is_empty) {
            return refuse("command", "must be a list: the program, then its arguments".to_owned());
        }
        if self.answer_file.is_empty() || self.answer_file.starts_with('.') || self.answer_file.contains('/')
        {
            return refuse("answer_file", "must be the name of a file".to_owned());
        }
        if let Some((key, reason)) = self.contradiction() {
            return refuse(key, reason.to_owned());
        }
        for variable in &self.environment {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if variable.is_empty() || !variable.chars().all(legal) {
                return refuse("environment", "must be names of environment variables".to_owned());
            }
            if keys.contains(variable) {
                let reason = format!(
                    "{variable} holds the key of a provider, which goes to that provider alone: put the key of the program \
                     into a variable of its own"
                );
                return refuse("environment", reason);
            }
        }
        for (key, value, least, most) in [
            ("processes", self.processes, 1, 256),
            ("records_per_process", self.records_per_process, 1, 1000),
            ("timeout_seconds", self.timeout_seconds, 1, 3600),
            ("memory_mib", self.memory_mib, 16, 1 << 20),
            ("children", self.children, 0, 4096),
            ("open_files", self.open_files, 16, 1 << 20),
            ("file_mib", self.file_mib, 1, 1 << 20),
            ("answer_bytes", self.answer_bytes, 1 << 10, 256 << 20),
        ] {
            if !(least..=most).contains(&value) {
                return refuse(key, format!("must be from {least} to {most}"));
            }
        }
        Ok(())
    }

    /// Whether a process is given many records.
    pub(crate) const fn takes_many(&self) -> bool {
        self.records_per_process > 1
    }

    /// Whether an argument holds this placeholder.
    pub(crate) fn names(&self, placeholder: &str) -> bool {
        self.command.iter().any(|argument| argument.contains(placeholder))
    }

    /// A setting that another one makes senseless, and why.
    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        if !self.takes_many() {
            if self.answer == AnswerPlace::Documents {
                return Some(("answer", "documents needs records_per_process of more than 1"));
            }
            let named = self.names(RECORD);
            return named.then_some(("command", "{record} needs records_per_process of more than 1"));
        }
        if self.protocol != Protocol::Folder {
            return Some((
                "records_per_process",
                "needs protocol: folder (jsonl has one process for all records)",
            ));
        }
        (self.answer == AnswerPlace::Stdout)
            .then_some(("answer", "with records_per_process of more than 1 must be file or documents"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let programs =
            serde_json::from_str(text).map_err(|error| ProgramError::Unreadable(error.to_string()));
        let keys = ["XAI_API_KEY".to_owned()];
        let checked = programs.and_then(Programs::from_value).and_then(|programs| programs.check(&keys));
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(error(r#"{"a": {"command": ["x"], "environment": ["MY_KEY"]}}"#), "");
        for (text, word) in [
            (r#"{"a": {}}"#, "programs.a.command"),
            (r#"{"../a": {"command": ["x"]}}"#, "a program is named"),
            (r#"{"a": {"comand": ["x"]}}"#, "unknown field `comand`"),
            (r#"{"a": {"command": ["x"], "processes": 0}}"#, "from 1 to 256"),
            (r#"{"a": {"command": ["x"], "answer_file": "../a"}}"#, "must be the name of a file"),
            (r#"{"a": {"command": ["x"], "records_per_process": 2}}"#, "needs protocol: folder"),
            (r#"{"a": {"command": ["x"], "answer": "documents"}}"#, "needs records_per_process"),
            (r#"{"a": {"command": ["x", "{record}"]}}"#, "{record} needs records_per_process"),
            (
                r#"{"a": {"command": ["x"], "protocol": "folder", "answer": "stdout", "records_per_process": 2}}"#,
                "must be file or documents",
            ),
            (r#"{"a": {"command": ["x"], "environment": ["A=b"]}}"#, "names of environment variables"),
            (r#"{"a": {"command": ["x"], "environment": ["XAI_API_KEY"]}}"#, "a variable of its own"),
        ] {
            let error = error(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_missing_program_names_those_that_are_there_and_the_remedy() {
        let programs = Programs([("a".to_owned(), ProgramConfig::default())].into());
        let error = programs.get("b").unwrap_err().to_string();
        assert!(error.contains("no program b here (there is a): set programs.b.command"), "{error}");
    }
}
