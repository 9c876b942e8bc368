//! Published numbers that cannot be right.

use crate::paper::{Finding, audit_figures};
use crate::render::Titled;
use crate::report::block::{Block, Section, table};

pub(in crate::report) fn section(findings: &[Finding]) -> Section {
    let title = format!(
        "Published numbers that cannot be right, and the right ones (n = {} numbers)",
        findings.len()
    );
    let tables = audit_figures(findings).tables;
    let blocks = tables.into_iter().map(|titled| table("audit", Titled { title: title.clone(), ..titled }));
    let intro = "Each number computed again from the published inputs; where that cannot be done the reason says why.";
    Section {
        id: "audit",
        title: "Audit of the published numbers",
        blocks: std::iter::once(Block::Text(intro.to_owned())).chain(blocks).collect(),
    }
}
