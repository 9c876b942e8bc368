//! The report as one self-contained HTML page.
//!
//! *Invariant*: only the script below runs, and nothing is loaded: the page's content security policy allows exactly
//! its style sheet and its script, by their hashes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::html::{headline, section, versus};
use crate::render::chart::dark_style;
use crate::render::{shown, thousands};
use crate::report::block::Report;
use crate::report::records::Records;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn page(report: &Report) -> String {
    let dark = dark_style(".drawing");
    let style = format!("{STYLE}@media screen and (prefers-color-scheme: dark){{{dark}}}");
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash(&style),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (shown(&report.title)) }
                style { (PreEscaped(style)) }
            }
            body {
                a.skip href="#content" { "Skip to the figures" }
                header { h1 { (shown(&report.title)) } }
                nav aria-label="Sections" {
                    ul {
                        @for section in &report.sections { li { a href={ "#" (section.id) } { (section.title) } } }
                        li { a href="#records-title" { "Records" } }
                    }
                }
                main id="content" {
                    @if let Some(of) = &report.versus { (versus(of)) }
                    div.headlines { @for of in &report.headlines { (headline(of, report.headlines.len() == 1)) } }
                    @for of in &report.sections { (section(of)) }
                    (records(&report.records))
                }
                footer {
                    "The same tables: report.md, tables.tex, tables/*.csv, records.csv. Figures: figures/*.svg. Hashes of all \
                     files: manifest.json."
                }
                script type="application/json" id="data" { (PreEscaped(embedded(&report.records))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn records(of: &Records) -> Markup {
    let (rows, all) = (thousands(of.rows as u64), thousands(of.all as u64));
    let which = match (of.rows < of.all, of.is_paired) {
        (false, _) => "",
        (true, false) => " Those that were not accepted come first.",
        (true, true) => " Those whose outcome differs come first, then those that were not accepted.",
    };
    html! {
        section aria-labelledby="records-title" {
            h2 id="records-title" { "Records" }
            p {
                (rows) " of " (all) " records, in the order of the corpus." (which) " A click on a heading sorts. The address of the page \
                keeps what is chosen here."
            }
            noscript { p { "The table requires JavaScript; records.csv has the same rows." } }
            div.filters role="search" aria-label="Filter records" {
                label { "search in all columns" input id="search" type="search" autocomplete="off" spellcheck="false"; }
                label.sort { "sort by" select id="sort" {} }
                @if of.is_paired {
                    label.check { input id="different" type="checkbox"; "different only" }
                }
                button id="clear" type="button" { "Clear" }
            }
            div.scroll tabindex="0" role="group" aria-label="Table of records" {
                table id="records" {
                    caption { "Records (one a row; times in ms; n = " (rows) ")" }
                    thead {}
                    tbody {}
                }
            }
            div.pager {
                button id="first" type="button" { "First" }
                button id="before" type="button" { "Previous" }
                button id="next" type="button" { "Next" }
                button id="last" type="button" { "Last" }
                span id="shown" role="status" {}
            }
        }
    }
}

/// JSON without characters that could end its HTML element or begin another.
fn embedded(records: &Records) -> String {
    let json = records.json().to_string();
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    safe
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}
