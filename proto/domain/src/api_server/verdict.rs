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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// Most causes, and most warnings, of an answer that a row keeps.
const MOST: usize = 100;

/// Longest text of an answer that a row keeps, in characters.
const LONGEST: usize = 2_000;

impl ServerAnswer {
    /// The answer of a verdict, its causes sorted and bounded.
    pub fn of(verdict: &ServerVerdict) -> Self {
        let mut causes: Vec<ServerCause> = verdict.causes.iter().map(ServerCause::bounded).collect();
        if causes.is_empty()
            && let Some(message) = &verdict.message
        {
            causes.push(ServerCause {
                field: String::new(),
                reason: String::new(),
                message: bounded(message),
            });
        }
        causes.sort();
        causes.truncate(MOST);
        Self { class: verdict.class, causes }
    }

    /// The refusal as lines `field: message`; empty where the server accepts.
    pub fn errors(&self) -> Vec<String> {
        if self.class.accepts() {
            return Vec::new();
        }
        if self.causes.is_empty() {
            return vec![self.class.as_str().to_owned()];
        }
        self.causes.iter().map(ServerCause::line).collect()
    }
}

impl ServerVerdict {
    /// The warnings that a row keeps.
    pub fn bounded_warnings(&self) -> Vec<String> {
        self.warnings.iter().take(MOST).map(|warning| bounded(warning)).collect()
    }
}

fn bounded(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// Which API server judges: a run is judged by one alone, and a verdict is another one's under other flags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawIdentity")]
pub struct ServerIdentity {
    version: String,
    flags: String,
}

#[derive(Deserialize)]
struct RawIdentity {
    version: String,
    flags: String,
}

impl TryFrom<RawIdentity> for ServerIdentity {
    type Error = InvalidIdentity;

    fn try_from(raw: RawIdentity) -> Result<Self, InvalidIdentity> {
        Self::new(raw.version, raw.flags)
    }
}

/// Why a version or flags are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// The version is empty, too long or holds other characters.
    #[error("the version of an API server must be 1 to 64 letters, digits and any of . + - _")]
    Version,
    /// The flags are too long or hold control characters.
    #[error("the flags of an API server must be at most 1024 bytes without control characters")]
    Flags,
}

impl ServerIdentity {
    /// The server of this version, with the flags that decide what it answers.
    pub fn new(version: impl Into<String>, flags: impl Into<String>) -> Result<Self, InvalidIdentity> {
        let (version, flags) = (version.into(), flags.into());
        let is_legal = |c: char| c.is_ascii_alphanumeric() || ".+-_".contains(c);
        if version.is_empty() || version.len() > 64 || !version.chars().all(is_legal) {
            return Err(InvalidIdentity::Version);
        }
        if flags.len() > 1024 || flags.chars().any(char::is_control) {
            return Err(InvalidIdentity::Flags);
        }
        Ok(Self { version, flags })
    }

    /// Its version: `v1.37.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The flags that decide what it answers.
    pub fn flags(&self) -> &str {
        &self.flags
    }

    /// Whether it refuses a Pod whose service account does not exist, as the admission plug-in `ServiceAccount` does.
    pub fn looks_up_accounts(&self) -> bool {
        !self.flags.contains("--disable-admission-plugins=ServiceAccount")
    }
}

impl std::fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.version)
    }
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
    fn bounded(&self) -> Self {
        Self { field: bounded(&self.field), reason: bounded(&self.reason), message: bounded(&self.message) }
    }

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
    fn a_row_keeps_causes_sorted_and_bounded_and_a_message_without_causes() {
        let verdict = |causes, message| ServerVerdict {
            class: ServerClass::Invalid,
            code: 422,
            causes,
            message,
            warnings: vec!["w".repeat(9_000); 200],
        };
        let cause =
            |field: String| ServerCause { field, reason: "r".to_owned(), message: "é".repeat(9_000) };
        let many = verdict((0..500).rev().map(|number| cause(format!("f{number:03}"))).collect(), None);
        let answer = ServerAnswer::of(&many);
        assert_eq!((answer.causes.len(), answer.causes[0].field.as_str()), (MOST, "f000"));
        assert_eq!(answer.causes[0].message.chars().count(), LONGEST);
        assert_eq!((many.bounded_warnings().len(), many.bounded_warnings()[0].len()), (MOST, LONGEST));
        let plain = ServerAnswer::of(&verdict(Vec::new(), Some("it is broken".to_owned())));
        assert_eq!(plain.errors(), ["it is broken"]);
        assert_eq!(ServerAnswer::of(&verdict(Vec::new(), None)).errors(), ["invalid"]);
    }

    #[test]
    fn an_identity_is_printable_and_bounded() {
        let identity = ServerIdentity::new("v1.37.2", "ServiceAccount=off").expect("legal");
        assert_eq!(identity.to_string(), "v1.37.2");
        let text = serde_json::to_string(&identity).expect("writes");
        assert_eq!(serde_json::from_str::<ServerIdentity>(&text).expect("reads"), identity);
        for (version, flags) in [("", ""), ("v1 .0", ""), ("v\n", ""), (&*"v".repeat(65), "")] {
            assert_eq!(ServerIdentity::new(version, flags), Err(InvalidIdentity::Version), "{version:?}");
        }
        for flags in ["a\nb".to_owned(), "f".repeat(1025)] {
            assert_eq!(ServerIdentity::new("v1", flags), Err(InvalidIdentity::Flags));
        }
        assert!(serde_json::from_str::<ServerIdentity>(r#"{"version": "", "flags": ""}"#).is_err());
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
