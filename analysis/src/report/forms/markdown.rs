//! The report as Markdown, with links to the figures.

use std::fmt::Write as _;

use crate::render::markdown::{escape, fenced};
use crate::render::{ends, interval, markdown, percent, thousands};
use crate::report::block::Document;
use crate::report::block::{Block, Example, Headline, Report, Versus};

pub(super) fn report(report: &Report) -> String {
    let mut text = format!("# {}\n\n", escape(&report.title));
    if let Some(versus) = &report.versus {
        versus_of(&mut text, versus);
    }
    for headline in &report.headlines {
        headline_of(&mut text, headline);
    }
    for section in &report.sections {
        let _ = write!(text, "## {}\n\n", section.title);
        for block in &section.blocks {
            match block {
                Block::Text(paragraph) => {
                    let _ = write!(text, "{}\n\n", escape(paragraph));
                }
                Block::Table(table) => {
                    text.push_str(&markdown(&table.titled));
                    text.push('\n');
                }
                Block::Figure(figure) => {
                    let title = escape(&figure.title);
                    let _ = write!(text, "![{title}](figures/{}.svg)\n\n", figure.name);
                    if !figure.note.is_empty() {
                        let _ = write!(text, "{}\n\n", escape(&figure.note));
                    }
                }
                Block::Example(example) => example_of(&mut text, example),
            }
        }
    }
    let records = &report.records;
    let _ = writeln!(
        text,
        "## Records\n\n{} of {} records: [records.csv](records.csv)",
        thousands(records.rows as u64),
        thousands(records.all as u64)
    );
    text
}

fn versus_of(text: &mut String, of: &Versus) {
    let [before, after] = &of.shares;
    let _ = writeln!(
        text,
        "**{}** from run {} ({} accepted) to run {} ({}): {} lost and {} gained of {} records that both have; McNemar's exact \
         test: {}; {}.\n",
        of.difference(),
        escape(&of.before),
        percent(before.rate),
        escape(&of.after),
        percent(after.rate),
        thousands(of.lost),
        thousands(of.gained),
        thousands(before.of),
        escape(&of.test),
        of.power
    );
}

fn headline_of(text: &mut String, headline: &Headline) {
    let share = &headline.accepted;
    let by_document = headline
        .by_document
        .map_or_else(String::new, |of| format!("; {} by bootstrap over documents", ends(of.low, of.high)));
    let valid = &headline.of_valid;
    if valid.of > 0 {
        let _ = writeln!(
            text,
            "**{} accepted by {}, of the documents that were valid before**, in run {} (95 % interval {}; \
             n = {} of {} records; judge: {}).\n",
            percent(valid.rate),
            headline.rules,
            escape(&headline.run),
            interval(valid),
            thousands(valid.count),
            thousands(valid.of),
            escape(&headline.judged_by)
        );
    }
    let _ = writeln!(
        text,
        "**{} accepted** of all records in run {} (95 % interval {}{by_document}; n = {} of {} records of {} documents).",
        percent(share.rate),
        escape(&headline.run),
        interval(share),
        thousands(share.count),
        thousands(share.of),
        thousands(headline.documents)
    );
    text.push('\n');
    for (who, share) in &headline.by_source {
        let _ = writeln!(text, "- {} {}, of all records", percent(share.rate), escape(who));
    }
    for (name, value) in &headline.facts {
        let _ = writeln!(text, "- {name}: {}", escape(value));
    }
    for lead in &headline.others {
        let mostly = lead
            .mostly
            .as_ref()
            .map_or_else(String::new, |most| format!(", {}: {}", most.how_often(), escape(&most.reason)));
        let _ = writeln!(text, "- {} {}{mostly}", thousands(lead.count), lead.what);
    }
    text.push('\n');
}

fn example_of(text: &mut String, example: &Example) {
    let _ = write!(text, "### {}\n\n", escape(&example.title));
    for (name, value) in &example.facts {
        let _ = writeln!(text, "- {name}: {}", escape(value));
    }
    for (gate, message) in &example.messages {
        let gate = if gate.is_empty() { String::new() } else { format!(" ({gate})") };
        let _ = writeln!(text, "- message{gate}: {}", escape(message));
    }
    text.push('\n');
    if let Some(document) = &example.document {
        let (language, body) = match document {
            Document::Diff(diff) => ("diff", diff),
            Document::Plain(document) => ("yaml", document),
        };
        fenced(text, language, body);
    }
    if let Some(patch) = &example.patch {
        fenced(text, "json", patch);
    }
}
