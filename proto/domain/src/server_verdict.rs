//! What a real API server answers when it is asked about a document with `dryRun=All&fieldValidation=Strict`.
//!
//! *Invariant*: a verdict is an answer. A server that could not be reached gave none, and no verdict stands for that.

use serde::{Deserialize, Serialize};

/// What kind of answer it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerClass {
    /// 2xx.
    Accepted,
    /// 409: such an object exists. Validation comes before this check and had passed.
    Conflict,
    /// 422: validation refused it.
    Invalid,
    /// 400: a field that is unknown or written twice.
    StrictDecoding,
    /// 400: a value of the wrong type or form.
    Decode,
    /// No YAML, or no object: it was not sent.
    Unparsable,
    /// The server serves no such kind: it was not sent.
    UnknownKind,
    /// The namespace does not exist.
    Namespace,
    /// Another cluster might accept it: a missing priority class, an address or port outside this server's range.
    Environment,
    /// Any other answer.
    Other,
}

impl ServerClass {
    /// The word used in columns and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::StrictDecoding => "strict_decoding",
            Self::Decode => "decode",
            Self::Unparsable => "unparsable",
            Self::UnknownKind => "unknown_kind",
            Self::Namespace => "namespace",
            Self::Environment => "environment",
            Self::Other => "other",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        const ALL: [ServerClass; 10] = [
            ServerClass::Accepted,
            ServerClass::Conflict,
            ServerClass::Invalid,
            ServerClass::StrictDecoding,
            ServerClass::Decode,
            ServerClass::Unparsable,
            ServerClass::UnknownKind,
            ServerClass::Namespace,
            ServerClass::Environment,
            ServerClass::Other,
        ];
        ALL.into_iter().find(|class| class.as_str() == text)
    }

    /// Whether the server would take the document.
    pub const fn accepts(self) -> bool {
        matches!(self, Self::Accepted | Self::Conflict)
    }

    /// Whether the refusal says more of this server than of the document.
    pub const fn is_environment(self) -> bool {
        matches!(self, Self::UnknownKind | Self::Namespace | Self::Environment)
    }
}

/// One cause of a refusal, as `details.causes` of a `Status` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerCause {
    /// `spec.containers[0].name`.
    pub field: String,
    /// `FieldValueInvalid`, `FieldValueRequired`, …; `unknown_field` and `duplicate_key` of strict decoding.
    pub reason: String,
    /// The server's words, without the field.
    pub message: String,
}

/// The answer of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerVerdict {
    /// What kind of answer.
    pub class: ServerClass,
    /// HTTP status; 0 where it was not sent.
    pub code: u16,
    /// Causes of a refusal, in the server's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<ServerCause>,
    /// The whole message where there are no causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The `Warning` headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl ServerVerdict {
    /// The refusal as lines `field: message`; empty where the server accepts.
    pub fn errors(&self) -> Vec<String> {
        if self.class.accepts() {
            return Vec::new();
        }
        if self.causes.is_empty() {
            return vec![self.message.clone().unwrap_or_else(|| self.class.as_str().to_owned())];
        }
        self.causes.iter().map(ServerCause::line).collect()
    }
}

/// An answer as a row of the results keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAnswer {
    /// What kind of answer.
    pub class: ServerClass,
    /// Causes of a refusal, sorted: a server walks through maps in any order.
    pub causes: Vec<ServerCause>,
}

/// What an API server answered about the document of a record, before and after its patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAnswers {
    /// Version of the server: `v1.37.2`.
    pub version: String,
    /// About the document before the patch; `None`: it was not asked.
    pub before: Option<ServerAnswer>,
    /// About the patched document; `None`: it was not asked.
    pub after: Option<ServerAnswer>,
    /// Warnings about the patched document.
    pub warnings: Vec<String>,
    /// Whether it contradicts the embedded rules about either; `None`: the two were not compared.
    pub disagrees: Option<bool>,
}

impl ServerCause {
    fn line(&self) -> String {
        match (self.field.as_str(), self.reason.as_str()) {
            (field, "unknown_field") => format!("strict decoding error: unknown field \"{field}\""),
            (field, "duplicate_key") => format!("strict decoding error: key \"{field}\" is written twice"),
            ("", _) => self.message.clone(),
            (field, _) => format!("{field}: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_read_by_its_word() {
        for word in [
            "accepted",
            "conflict",
            "invalid",
            "strict_decoding",
            "decode",
            "unparsable",
            "unknown_kind",
            "namespace",
            "environment",
            "other",
        ] {
            let class = ServerClass::parse(word).expect(word);
            assert_eq!((class.as_str(), serde_json::to_value(class).expect("writes")), (word, word.into()));
        }
        assert_eq!(ServerClass::parse("refused"), None);
    }

    #[test]
    fn a_refusal_reads_as_the_server_words_it() {
        let cause = |field: &str, reason: &str, message: &str| ServerCause {
            field: field.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let verdict = ServerVerdict {
            class: ServerClass::Invalid,
            code: 422,
            causes: vec![
                cause("spec.replicas", "FieldValueInvalid", "Invalid value: -1: must be 0 or more"),
                cause("spec.foo", "unknown_field", ""),
            ],
            message: None,
            warnings: Vec::new(),
        };
        assert_eq!(
            verdict.errors(),
            [
                "spec.replicas: Invalid value: -1: must be 0 or more",
                "strict decoding error: unknown field \"spec.foo\""
            ]
        );
        let text = serde_json::to_string(&verdict).expect("writes");
        assert_eq!(serde_json::from_str::<ServerVerdict>(&text).expect("reads"), verdict);
        let accepted = ServerVerdict { class: ServerClass::Conflict, code: 409, ..verdict };
        assert!(accepted.errors().is_empty(), "an object that exists was valid");
    }
}
