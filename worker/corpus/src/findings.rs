//! Findings of one document in memory, as a scanner that lints file by file reports them.

use domain::config::Limits;
use domain::policy::PolicyId;
use domain::record::Neighbours;
use engine::detect::detect;
use engine::document::Document;
use engine::k8s::View;

/// What the policies of the paper find in the first document of `text`: the scanner's id and its sentence, sorted, each once. Nothing for a
/// text that is not a valid document.
pub fn findings(text: &str) -> Vec<(&'static str, String)> {
    let Ok(document) = Document::parse(text, &Limits::default()) else { return Vec::new() };
    let found = detect(&View::new(&document, &Neighbours::Unknown), PolicyId::PAPER);
    let mut found: Vec<_> = found.into_iter().map(|finding| (finding.check, finding.message)).collect();
    found.sort_unstable();
    found.dedup();
    found
}
