//! Impossible numbers of the paper.

use crate::paper::{Finding, audit_figures};
use crate::render::Titled;
use crate::report::block::{Block, Section, table};

pub(in crate::report) fn section(findings: &[Finding]) -> Section {
    let title =
        format!("Impossible numbers of the paper, and the corrected ones (n = {} numbers)", findings.len());
    let tables = audit_figures(findings).tables;
    let blocks = tables.into_iter().map(|titled| table("audit", Titled { title: title.clone(), ..titled }));
    let intro = "Each number is computed again from the inputs published with the paper, where they exist.";
    Section {
        id: "audit",
        title: "Audit of the paper's numbers",
        blocks: std::iter::once(Block::Text(intro.to_owned())).chain(blocks).collect(),
    }
}
