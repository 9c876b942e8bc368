//! Error of a text that is not a valid document.

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum LoadError {
    /// Not YAML.
    #[error("line {line}, column {column}: {message}")]
    Syntax { line: usize, column: usize, message: String },
    /// Nothing but blanks and comments.
    #[error("the document is empty")]
    Empty,
    /// Larger than allowed.
    #[error("{what} exceeds the limit of {limit}")]
    Limit { what: &'static str, limit: usize },
}
