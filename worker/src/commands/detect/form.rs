//! The forms of findings, and numbers in sentences.

use clap::ValueEnum;

/// Output format of findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// By file on a terminal, a line for each finding elsewhere
    #[default]
    Text,
    /// One JSON array
    Json,
    /// A JSON object a line
    Jsonl,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
    /// Code quality report of GitLab
    Gitlab,
    /// Reviewdog Diagnostic Format
    Rdjson,
    #[value(help = "JUnit XML")]
    Junit,
    /// A summary for a comment
    Markdown,
    /// Records in the shape of detections.json
    Detections,
}

/// A number with its noun.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}
