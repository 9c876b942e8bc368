//! A summary of findings in Markdown, for the comment of a pull request or the summary of a job.
//!
//! *Invariant*: it stays below what GitHub takes for a comment, whatever the number of findings; text of files is no markup.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cli_support::escape::one_line;

use super::outcome::Outcome;
use super::review::Reviewed;
use super::unread::Unread;
use super::{Located, check_name, object_name};

/// Most characters of a comment, with room for who wraps it (GitHub takes 65,536).
const MOST: usize = 60_000;

/// What is gathered for a summary.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    policies: BTreeMap<String, Counts>,
    lines: String,
    /// The file of the last line.
    path: Option<String>,
    left_out: u64,
    unread: u64,
}

/// What became of the findings of a policy.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    fixed: u64,
    held_back: u64,
    left: u64,
}

impl Counts {
    fn add(&mut self, outcome: Option<&Outcome>) {
        match outcome {
            Some(Outcome::Fixed(_) | Outcome::FixedWithOthers) => self.fixed += 1,
            Some(Outcome::HeldBack(_)) => self.held_back += 1,
            Some(Outcome::Left(_)) | None => self.left += 1,
        }
    }
}

impl Summary {
    /// Adds a finding.
    pub(crate) fn add(&mut self, found: &Located, reviewed: Option<&Reviewed<'_>>) {
        let outcome = reviewed.map(|reviewed| reviewed.outcome);
        self.policies.entry(found.policy.as_str().to_owned()).or_default().add(outcome);
        let sign = match outcome {
            Some(outcome) if outcome.is_fixed() => "✅",
            Some(Outcome::HeldBack(_)) => "⏸️",
            _ => "❌",
        };
        let became =
            reviewed.map(|reviewed| format!(" — {}", text(&reviewed.sentence()))).unwrap_or_default();
        let mut line = String::new();
        if self.path.as_ref() != Some(&found.path) {
            let _ = writeln!(line, "\n**{}**\n", text(&found.path));
        }
        let (check, object) = (text(&check_name(found)), text(&object_name(found)));
        let _ = writeln!(
            line,
            "- {sign} {} `{}` {}: {}{became}",
            found.position(),
            check.replace('`', ""),
            object,
            text(&(found.message.clone() + &found.noted()))
        );
        if self.lines.len() + line.len() > MOST {
            self.left_out += 1;
            return;
        }
        self.path = Some(found.path.clone());
        self.lines.push_str(&line);
    }

    /// Adds a document that cannot be read.
    pub(crate) fn add_unread(&mut self, unread: &Unread) {
        self.unread += 1;
        let line = unread.line.map(|line| format!(":{line}")).unwrap_or_default();
        let line = format!("\n**{}{line}**\n\n- ⚠️ {}\n", text(&unread.path), text(&unread.text()));
        if self.lines.len() + line.len() > MOST {
            self.left_out += 1;
            return;
        }
        self.path = None;
        self.lines.push_str(&line);
    }

    /// The summary. `reviewed`: whether repairs were looked for; `written`: whether they were written.
    pub(crate) fn text(&self, reviewed: bool, written: bool) -> String {
        let mut all = Counts::default();
        for counts in self.policies.values() {
            all.fixed += counts.fixed;
            all.held_back += counts.held_back;
            all.left += counts.left;
        }
        let total = all.fixed + all.held_back + all.left;
        let mut out = String::from("## Kubernetes manifests\n\n");
        let unread = match self.unread {
            0 => "",
            1 => "**1 document cannot be read, and nothing was looked for in it.**\n\n",
            many => &format!("**{many} documents cannot be read, and nothing was looked for in them.**\n\n"),
        };
        out.push_str(unread);
        if total == 0 && self.unread > 0 {
            let _ = writeln!(out, "No violations in the others.\n{}", self.lines);
            return out;
        }
        if total == 0 {
            out.push_str("No violations.\n");
            return out;
        }
        let fixed = if written { "fixed" } else { "can be fixed" };
        if reviewed {
            let _ = writeln!(
                out,
                "{total} violations: {} {fixed}, {} held back, {} left.\n\n| policy | {fixed} | held back | left |\n| --- | ---: | ---: | ---: |",
                all.fixed, all.held_back, all.left
            );
        } else {
            let _ = writeln!(out, "{total} violations.\n\n| policy | violations |\n| --- | ---: |");
        }
        for (policy, counts) in &self.policies {
            let policy = text(policy);
            let _ = if reviewed {
                writeln!(out, "| {policy} | {} | {} | {} |", counts.fixed, counts.held_back, counts.left)
            } else {
                writeln!(out, "| {policy} | {} |", counts.left)
            };
        }
        let _ = write!(out, "\n<details><summary>Every violation</summary>\n{}", self.lines);
        if self.left_out > 0 {
            let _ = writeln!(out, "\n… and {} more.", self.left_out);
        }
        out.push_str("\n</details>\n");
        out
    }
}

/// Text on one line that Markdown and HTML take for text.
fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => shown.push_str("&lt;"),
            '&' => shown.push_str("&amp;"),
            // A mention would call people.
            '@' => shown.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                shown.push('\\');
                shown.push(c);
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::found;

    #[test]
    fn text_of_files_is_no_markup_and_the_summary_is_bounded() {
        let mut summary = Summary::default();
        for number in 0..2_000 {
            summary.add(&found("a|b.yaml", &format!("{number} <img src=x> @all [x](y) `z`\n# title")), None);
        }
        let text = summary.text(false, false);
        assert!(text.len() < 65_536 && text.contains("… and "), "{}", text.len());
        assert!(text.contains("2000 violations.") && text.contains("| no\\_privileged | 2000 |"), "{text}");
        assert!(!text.contains("<img") && !text.contains("@all") && !text.contains("\n# title"), "{text}");
    }
}
