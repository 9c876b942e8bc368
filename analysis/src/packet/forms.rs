//! The packet as Markdown: an overview, and a page for each document.

use std::fmt::Write as _;

use cli_support::output::{Align, Table};
use serde_json::Value;

use super::{Packet, Plan, Repair, Revert, Unit};
use crate::render::markdown::{escape, fenced};
use crate::render::{Titled, markdown, number, shown, thousands};
use crate::report::block::Document;

/// The whole packet on one page.
pub(crate) fn overview(packet: &Packet, plan: &Plan) -> String {
    let mut text = format!("# Review packet of run {}\n\n", escape(&packet.run_id));
    let _ = writeln!(
        text,
        "{} accepted repairs of {} records, in {} documents; judged by {}. {} documents are in this packet, in the order of the \
         rollout: the smallest blast radius first, then by risk over time.",
        thousands(packet.accepted),
        thousands(packet.records),
        thousands(packet.documents as u64),
        escape(&packet.judged_by),
        thousands(packet.units.len() as u64)
    );
    if packet.left_out > 0 {
        let _ = writeln!(
            text,
            "\n**{} documents are left out**: those that would come last. `--most` asks for more.",
            thousands(packet.left_out as u64)
        );
    }
    text.push_str("\n## Change windows\n\n");
    text.push_str(&markdown(&windows(packet)));
    text.push_str("\n## Documents\n\n");
    text.push_str(&markdown(&documents(packet)));
    text.push_str("\n## Plan for a repository\n\n");
    fenced(&mut text, "text", &plan.text(packet));
    text
}

fn windows(packet: &Packet) -> Titled {
    let mut table = Table::new([
        ("window", Align::Right),
        ("blast radius", Align::Left),
        ("documents", Align::Right),
        ("minutes", Align::Right),
        ("risk closed", Align::Right),
    ]);
    for window in &packet.windows {
        table.push([
            window.number.to_string(),
            format!("{}: {}", window.radius.as_str(), window.radius.meaning()),
            thousands(window.units.len() as u64),
            number(Some(window.minutes)),
            number(Some(window.risk)),
        ]);
    }
    Titled { title: format!("Change windows (n = {})", packet.windows.len()), table }
}

fn documents(packet: &Packet) -> Titled {
    let mut table = Table::new([
        ("page", Align::Right),
        ("object", Align::Left),
        ("manifest", Align::Left),
        ("repairs", Align::Right),
        ("blast radius", Align::Left),
        ("risk", Align::Right),
        ("cautions", Align::Left),
    ]);
    for unit in &packet.units {
        let mut cautions: Vec<&str> = unit
            .repairs
            .iter()
            .flat_map(|repair| &repair.cautions)
            .map(|note| note.caution.as_str())
            .collect();
        cautions.sort_unstable();
        cautions.dedup();
        if unit.repairs.iter().any(|repair| !repair.cautions_known) {
            cautions.push("not known");
        }
        table.push([
            format!("{:04}", unit.number),
            object(unit),
            unit.manifest.clone(),
            unit.repairs.len().to_string(),
            unit.radius.as_str().to_owned(),
            number(Some(unit.risk)),
            cautions.join(", "),
        ]);
    }
    Titled { title: format!("Documents, each on its page repairs/N.md (n = {})", packet.units.len()), table }
}

fn object(unit: &Unit) -> String {
    let namespace = if unit.namespace.is_empty() { String::new() } else { format!("{}/", unit.namespace) };
    format!("{} {namespace}{}", unit.kind, unit.name)
}

/// The page of a document.
pub(super) fn page(unit: &Unit, packet: &Packet) -> String {
    let window = packet.windows.iter().find(|window| window.units.contains(&unit.number));
    let mut text = format!("# {:04}: {}\n\n", unit.number, escape(&object(unit)));
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "- {name}: {}", escape(value));
    };
    fact("manifest", &unit.manifest);
    fact("change window", &window.map_or_else(|| "-".to_owned(), |window| window.number.to_string()));
    fact("blast radius", &format!("{}: {}", unit.radius.as_str(), unit.radius.meaning()));
    fact(
        "pods",
        &format!("{}{}", unit.replicas, if unit.replaces_pods { ", replaced by the rollout" } else { "" }),
    );
    fact("expected rollout, min", &number(Some(unit.minutes)));
    fact("risk closed", &number(Some(unit.risk)));
    if unit.repairs.len() > 1 {
        text.push_str("\nEach repair was judged alone, on the document as it was.\n");
    }
    if unit.repairs_left_out > 0 {
        let _ = writeln!(text, "\n{} further repairs of the document are left out.", unit.repairs_left_out);
    }
    for repair in &unit.repairs {
        text.push('\n');
        text.push_str(&one(repair));
    }
    text
}

fn one(repair: &Repair) -> String {
    let mut text = format!("## {} (record {})\n\n", escape(&repair.policy_id), escape(&repair.record_id));
    let verdicts = repair.verdicts.iter().map(|(gate, verdict)| {
        let word = match verdict {
            Some(true) => "passed",
            Some(false) => "failed",
            None => "not run",
        };
        format!("{} {word}", gate.replace('_', " "))
    });
    let _ = writeln!(text, "- proposed by: {}", escape(&repair.source));
    let _ = writeln!(text, "- verdicts: {}", verdicts.collect::<Vec<_>>().join(", "));
    let _ = writeln!(text, "- risk: {}", number(Some(repair.risk)));
    let _ = writeln!(text, "- operations that the violation did not require: {}", repair.collateral_ops);
    if !repair.cautions_known {
        text.push_str("- cautions: not known, because they are looked for in what the rules propose\n");
    } else if repair.cautions.is_empty() {
        text.push_str("- cautions: none\n");
    }
    for note in &repair.cautions {
        let _ = writeln!(text, "- caution {}: {}", escape(&note.caution), escape(&note.meaning));
    }
    if repair.has_masks {
        text.push_str("- secrets are masked here: what is shown cannot be applied as it is\n");
    }
    text.push('\n');
    match &repair.effect {
        Some(Document::Diff(diff)) => fenced(&mut text, "diff", diff),
        Some(Document::Plain(document)) => fenced(&mut text, "yaml", document),
        None => text.push_str("The run has no copy of the document.\n\n"),
    }
    section(&mut text, "Patch", repair.patch.as_ref());
    match &repair.revert {
        Revert::Proven(ops) => {
            section(&mut text, "Revert: behind the patch it gives the document again", Some(ops));
        }
        Revert::None(why) => {
            let _ = writeln!(text, "### Revert\n\nNone: {}.\n", escape(why));
        }
    }
    if repair.companions.is_some() {
        section(&mut text, "Companions: to be created with the document", repair.companions.as_ref());
    }
    text
}

fn section(text: &mut String, title: &str, value: Option<&Value>) {
    let _ = writeln!(text, "### {title}\n");
    match value {
        Some(value) => fenced(text, "json", &shown(&format!("{value:#}"))),
        None => text.push_str("Too long for a page, or none.\n\n"),
    }
}
