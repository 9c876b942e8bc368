//! Documents that cannot be read, in the forms of findings: what was not looked at is not clean.

use cli_support::escape::visible;
use corpus::TroubleSort;
use domain::ids::DocumentHash;
use serde_json::{Value, json};

/// The name of the rule that such an entry has in forms that need one.
pub(crate) const CHECK: &str = "unreadable";

/// A file or a document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) path: String,
    /// From 1; `None`: the whole file.
    pub(crate) line: Option<usize>,
    /// What is wrong, without secrets.
    pub(crate) message: String,
    pub(crate) sort: TroubleSort,
    /// Whether the user allowed it.
    pub(crate) is_ignored: bool,
}

impl Unread {
    /// Whether the input was not looked at as a whole because of it.
    pub(crate) fn is_broken(&self) -> bool {
        self.sort == TroubleSort::Broken
    }

    /// `error`: the command fails because of it; else `warning`.
    pub(crate) fn level(&self) -> &'static str {
        if self.is_broken() && !self.is_ignored { "error" } else { "warning" }
    }

    /// What is said of it.
    pub(crate) fn text(&self) -> String {
        format!("cannot be read: {}", self.message)
    }

    fn relative(&self) -> &str {
        self.path.strip_prefix("./").unwrap_or(&self.path)
    }

    /// An entry of a code quality report of GitLab.
    pub(crate) fn gitlab(&self) -> Value {
        let line = self.line.unwrap_or(1);
        let parts = [&*self.path, CHECK, &line.to_string(), &self.message].join("\0");
        let hash = DocumentHash::of(parts.as_bytes()).to_string();
        json!({
            "description": visible(&self.text()),
            "check_name": CHECK,
            "fingerprint": format!("{}:1", hash.get(..32).unwrap_or_default()),
            "severity": if self.level() == "error" { "critical" } else { "info" },
            "location": {"path": self.relative(), "lines": {"begin": line, "end": line}},
        })
    }

    /// A diagnostic of the Reviewdog Diagnostic Format.
    pub(crate) fn rdjson(&self) -> Value {
        let mut diagnostic = json!({
            "message": visible(&self.text()),
            "location": {"path": self.relative()},
            "severity": if self.level() == "error" { "ERROR" } else { "WARNING" },
            "code": {"value": CHECK},
        });
        if let Some(line) = self.line {
            diagnostic["location"]["range"] = json!({"start": {"line": line}});
        }
        diagnostic
    }
}
