//! The scanners of this machine: where they are and how long they may take.

use serde::{Deserialize, Serialize};

use super::InvalidConfig;
use crate::scanner::Scanner;

/// The scanners of this machine. Not a part of a run: a run names scanners, and no program is started by its path in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScannersConfig {
    /// Where the programs are.
    pub tools: ToolPaths,
    /// Folder of the policies that Kyverno applies.
    pub policies_dir: String,
    /// How long one process of a scanner may take, in seconds.
    pub timeout_seconds: u32,
}

/// Paths of programs; an empty one: on PATH, else where `scripts/scanners` puts them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolPaths {
    /// Path of kube-linter.
    pub kube_linter: String,
    /// Path of Kyverno's CLI.
    pub kyverno: String,
    /// Path of checkov.
    pub checkov: String,
}

impl ToolPaths {
    /// The path of a program; empty where none is set, and for the built-in detector.
    pub fn of(&self, scanner: Scanner) -> &str {
        match scanner {
            Scanner::Builtin => "",
            Scanner::KubeLinter => &self.kube_linter,
            Scanner::Kyverno => &self.kyverno,
            Scanner::Checkov => &self.checkov,
        }
    }

    /// Sets the path of a program. The built-in detector has none.
    pub fn set(&mut self, scanner: Scanner, path: String) {
        match scanner {
            Scanner::Builtin => {}
            Scanner::KubeLinter => self.kube_linter = path,
            Scanner::Kyverno => self.kyverno = path,
            Scanner::Checkov => self.checkov = path,
        }
    }
}

impl Default for ScannersConfig {
    fn default() -> Self {
        Self { tools: ToolPaths::default(), policies_dir: String::new(), timeout_seconds: 600 }
    }
}

impl ScannersConfig {
    /// Checks what types cannot say.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.timeout_seconds == 0 || self.timeout_seconds > 86_400 {
            let reason = "must be from 1 to 86400".to_owned();
            return Err(InvalidConfig { key: "detector.timeout_seconds", reason });
        }
        Ok(())
    }
}
