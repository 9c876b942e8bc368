//! What an API server answered about a document, as the gates keep it.

use std::sync::Arc;

use domain::api_server::{ServerAnswer, ServerVerdict};

/// What an API server answered about a document.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerResult {
    /// Version of the server.
    pub version: Arc<str>,
    /// Its answer.
    pub answer: ServerAnswer,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Whether it contradicts the embedded verdict; `None`: the two were not compared.
    pub disagrees: Option<bool>,
}

impl ServerResult {
    /// The verdict of the server of this version, bounded.
    pub fn new(version: Arc<str>, verdict: &ServerVerdict) -> Self {
        let (answer, warnings) = (ServerAnswer::of(verdict), verdict.bounded_warnings());
        Self { version, answer, warnings, disagrees: None }
    }
}
