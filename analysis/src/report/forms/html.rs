//! Parts of a report as HTML. The template engine escapes every text except the charts, which are generated here.

use cli_support::output::Align;
use maud::{Markup, PreEscaped, html};

use crate::render::{Titled, ends, interval, percent, shown, thousands};
use crate::report::block::Document;
use crate::report::block::{Block, Example, Figure, Headline, Section, Versus};

/// Maximum number of rows of a table that is not folded.
const OPEN: usize = 45;

/// The comparison of two runs, above both.
pub(super) fn versus(of: &Versus) -> Markup {
    let [before, after] = &of.shares;
    let (verdict, class) = if after.count < before.count {
        ("Fewer are accepted than before", "fell")
    } else {
        ("No fewer are accepted than before", "held")
    };
    html! {
        section.headline.versus aria-label="The two runs compared" {
            div {
                p class={ "share " (class) } {
                    (of.points()) " "
                    small { "percentage points from run " (shown(&of.before)) " to run " (shown(&of.after)) }
                }
            }
            div {
                p.what { (verdict) }
                dl {
                    dt { "before" } dd { (percent(before.rate)) " accepted (" (interval(before)) ")" }
                    dt { "after" } dd { (percent(after.rate)) " accepted (" (interval(after)) ")" }
                    dt { "changed" }
                    dd { (thousands(of.lost)) " lost, " (thousands(of.gained)) " gained of " (thousands(before.of)) " records that both have" }
                    dt { "paired test" } dd { (of.test) " (McNemar's exact test)" }
                    dt { "power" } dd { (of.power) }
                }
                p.why { a href="#?different=1" { "Only the records whose outcome differs" } }
            }
        }
    }
}

pub(super) fn headline(of: &Headline, alone: bool) -> Markup {
    html! {
        section.headline aria-label={ "Acceptance of run " (shown(&of.run)) } {
            @if !alone { h2 { "Run " (shown(&of.run)) } }
            ul.facts { @for (name, value) in &of.facts { li { span { (name) } " " (shown(value)) } } }
            div {
                @if of.of_valid.of > 0 {
                    p.share {
                        (percent(of.of_valid.rate)) " "
                        small { "accepted by " (of.rules) ", of the documents that were valid before" }
                    }
                    (sources(of))
                    dl {
                        dt { "95 % interval" } dd { (interval(&of.of_valid)) " (Wilson)" }
                        dt { "n" } dd { (thousands(of.of_valid.count)) " of " (thousands(of.of_valid.of)) " records" }
                        dt { "judged by" } dd { (shown(&of.judged_by)) }
                        dt { "of all records" }
                        dd { (percent(of.accepted.rate)) " (" (thousands(of.accepted.count)) " of " (thousands(of.accepted.of)) ")" }
                        (intervals(of))
                    }
                } @else {
                    p.share { (percent(of.accepted.rate)) " " small { "accepted" } }
                    (sources(of))
                    dl {
                        (intervals(of))
                        dt { "n" } dd { (thousands(of.accepted.count)) " of " (thousands(of.accepted.of)) " records" }
                    }
                }
            }
            div {
                p.what { "Not accepted" }
                ul.others {
                    @if of.others.is_empty() { li { "None: all records were accepted." } }
                    @for lead in &of.others {
                        li {
                            span class={ "count " (lead.what.replace(' ', "-")) } { (thousands(lead.count)) }
                            " " (lead.what)
                            @if let Some(mostly) = &lead.mostly {
                                span.why { (mostly.how_often()) ": " (shown(&mostly.reason)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Who made the accepted repairs.
fn sources(of: &Headline) -> Markup {
    html! {
        @if !of.by_source.is_empty() {
            ul.sources {
                @for (who, share) in &of.by_source { li { b { (percent(share.rate)) } " " (shown(who)) } }
                li.why { "of all records" }
            }
        }
    }
}

/// The intervals of the share of all records.
fn intervals(of: &Headline) -> Markup {
    html! {
        dt { "95 % interval" } dd { (interval(&of.accepted)) " (Wilson)" }
        @if let Some(by_document) = of.by_document {
            dt { "by document" }
            dd { (ends(by_document.low, by_document.high)) " (bootstrap, " (thousands(of.documents)) " documents)" }
        }
    }
}

pub(super) fn section(of: &Section) -> Markup {
    html! {
        section aria-labelledby=(of.id) {
            h2 id=(of.id) { (of.title) }
            @for block in &of.blocks {
                @match block {
                    Block::Text(text) => p { (shown(text)) },
                    Block::Table(named) => (table(&named.titled)),
                    Block::Figure(drawn) => (figure(drawn)),
                    Block::Example(record) => (example(record)),
                }
            }
        }
    }
}

fn figure(of: &Figure) -> Markup {
    html! {
        figure {
            div.drawing tabindex="0" role="group" aria-label={ (shown(&of.title)) ", drawn" } {
                div role="img" aria-label=(shown(&of.title)) { (PreEscaped(&of.drawing.svg)) }
            }
            @if !of.note.is_empty() { figcaption { (of.note) } }
        }
    }
}

fn table(of: &Titled) -> Markup {
    let (header, rows) = (of.table.header(), of.table.rows());
    let class = |align: Align| if align == Align::Left { Some("w") } else { None };
    let body = html! {
        div.scroll tabindex="0" role="group" aria-label=(shown(&of.title)) {
            table {
                caption { (shown(&of.title)) }
                thead { tr { @for (name, align) in header { th scope="col" class=[class(*align)] { (name) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (cell, (_, align)) in row.iter().zip(header) { td class=[class(*align)] { (shown(cell)) } }
                        }
                    }
                }
            }
        }
    };
    if rows.len() <= OPEN {
        return body;
    }
    html! { details { summary { (shown(&of.title)) ": " (thousands(rows.len() as u64)) " rows" } (body) } }
}

fn example(of: &Example) -> Markup {
    html! {
        details.example {
            summary { (shown(&of.title)) }
            dl { @for (name, value) in &of.facts { dt { (name) } dd { (shown(value)) } } }
            @if !of.messages.is_empty() {
                ul {
                    @for (gate, message) in &of.messages {
                        li { @if !gate.is_empty() { b { (gate) ": " } } (shown(message)) }
                    }
                }
            }
            @match &of.document {
                Some(Document::Diff(text)) => (code("What the patch does to the document", text, diff_class)),
                Some(Document::Plain(text)) => (code("The document", text, |_| None)),
                None => {}
            }
            @if let Some(patch) = &of.patch {
                details { summary { "JSON Patch" } (code("JSON Patch", patch, |_| None)) }
            }
        }
    }
}

fn code(title: &str, text: &str, class: fn(&str) -> Option<&'static str>) -> Markup {
    html! {
        pre tabindex="0" role="group" aria-label=(title) {
            @for line in text.lines() { span class=[class(line)] { (shown(line)) } }
        }
    }
}

fn diff_class(line: &str) -> Option<&'static str> {
    match line.chars().next() {
        Some('+') => Some("add"),
        Some('-') => Some("del"),
        Some('@') => Some("hunk"),
        _ => None,
    }
}
