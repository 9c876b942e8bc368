//! What decides the schema gate.

use serde::{Deserialize, Serialize};

/// What decides the schema gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaDepth {
    /// The embedded schemas and rules.
    #[default]
    Embedded,
    /// A real API server, asked by a dry run.
    Server,
    /// The embedded rules; a server is asked too, and what they disagree about is recorded.
    Both,
}

impl SchemaDepth {
    /// Every depth.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::Server, Self::Both];

    /// The word used in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Server => "server",
            Self::Both => "both",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|depth| depth.as_str() == text)
    }

    /// Whether an API server is asked.
    pub const fn needs_server(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }

    /// Whether it is the default: a configuration at rest and on the wire leaves it out then, so that it reads, and
    /// hashes, as those of releases that knew no other.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(crate) const fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded)
    }
}

impl std::fmt::Display for SchemaDepth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
