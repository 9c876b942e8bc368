//! The plan for a repository that a cluster follows: the branches and commits that would be made, in order. Nothing is made.

use std::fmt::Write as _;

use cli_support::escape::one_line;
use serde::Serialize;

use super::{Options, Packet, Unit, Window};
use crate::render::{number, thousands};

/// Characters of a subject and of a path.
const SUBJECT: usize = 72;
const PATH: usize = 400;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Plan {
    /// The branch that the first one is made from.
    pub(crate) base: String,
    pub(crate) branches: Vec<Branch>,
}

/// A branch for each change window, made from the base once the one before is merged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Branch {
    pub(crate) name: String,
    pub(crate) window: usize,
    pub(crate) commits: Vec<Commit>,
}

/// A commit for each document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Commit {
    pub(crate) subject: String,
    /// The document's file.
    pub(crate) file: String,
    /// Whether that is a relative path inside a repository; else a person has to find the file.
    pub(crate) is_inside: bool,
    /// Objects that are created beside it.
    pub(crate) companions: usize,
    /// Number of the document in the packet.
    pub(crate) unit: usize,
    pub(crate) records: Vec<String>,
}

pub(crate) fn plan(packet: &Packet, options: &Options) -> Plan {
    let run = name(&packet.run_id);
    let branches = packet.windows.iter().map(|window| Branch {
        name: format!("k8s-auto-fix/{run}/window-{:03}-{}", window.number, window.radius.as_str()),
        window: window.number,
        commits: commits(packet, window),
    });
    Plan { base: options.base.clone(), branches: branches.collect() }
}

fn commits(packet: &Packet, window: &Window) -> Vec<Commit> {
    let units = packet.units.iter().filter(|unit| window.units.contains(&unit.number));
    units
        .map(|unit| Commit {
            subject: subject(unit),
            file: cut(&one_line(&unit.manifest), PATH),
            is_inside: is_inside(&unit.manifest),
            companions: unit
                .repairs
                .iter()
                .filter_map(|repair| repair.companions.as_ref()?.as_array().map(Vec::len))
                .sum(),
            unit: unit.number,
            records: unit.repairs.iter().map(|repair| repair.record_id.clone()).collect(),
        })
        .collect()
}

/// `Fix no_latest_tag and 2 more in Deployment web`.
fn subject(unit: &Unit) -> String {
    let mut policies: Vec<&str> = unit.repairs.iter().map(|repair| repair.policy_id.as_str()).collect();
    policies.sort_unstable();
    policies.dedup();
    let more = match policies.len() {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    let object = format!("{} {}", unit.kind, unit.name);
    cut(
        &one_line(&format!("Fix {}{more} in {object}", policies.first().copied().unwrap_or("document"))),
        SUBJECT,
    )
}

/// A part of a branch's name.
fn name(text: &str) -> String {
    let kept = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let kept: String = kept.take(40).collect();
    let kept = kept.trim_matches('-').to_owned();
    if kept.is_empty() { "run".to_owned() } else { kept }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Whether a path stays inside the folder that it is relative to.
fn is_inside(path: &str) -> bool {
    let is_plain = !path.is_empty() && path.len() <= PATH && !path.chars().any(char::is_control);
    let steps = || path.split(['/', '\\']);
    is_plain && !path.contains(':') && steps().all(|step| !step.is_empty() && step != ".." && step != ".git")
}

impl Plan {
    /// The plan as text.
    pub(crate) fn text(&self, packet: &Packet) -> String {
        let mut text = format!(
            "Plan for a repository, from run {}\n\nNothing of this was done: no branch was made and nothing was pushed. A branch \
             is made from {} once the one before is merged and rolled out. Each repair was judged alone: judge a file again \
             (worker verify) when it has got several. A rollout that fails is taken back by reverting its commit; repairs/N.md has \
             the patch that does it.\n",
            one_line(&packet.run_id),
            one_line(&self.base)
        );
        for branch in &self.branches {
            let window = packet.windows.iter().find(|window| window.number == branch.window);
            let _ = writeln!(text, "\n{}. branch {}", branch.window, branch.name);
            if let Some(window) = window {
                let _ = writeln!(
                    text,
                    "   blast radius: {} ({}); {} documents; {} min; risk closed: {}",
                    window.radius.as_str(),
                    window.radius.meaning(),
                    thousands(window.units.len() as u64),
                    number(Some(window.minutes)),
                    number(Some(window.risk))
                );
            }
            for (place, commit) in branch.commits.iter().enumerate() {
                let _ = writeln!(text, "   {}.{} commit: {}", branch.window, place + 1, commit.subject);
                let outside = if commit.is_inside {
                    ""
                } else {
                    " (not a path inside a repository: find the file by hand)"
                };
                let _ = writeln!(text, "       change {}{outside}", commit.file);
                if commit.companions > 0 {
                    let _ = writeln!(text, "       add {} objects beside it", commit.companions);
                }
                let _ = writeln!(text, "       see repairs/{:04}.md", commit.unit);
            }
            let _ = writeln!(
                text,
                "   then: a pull request, merged in its change window; wait until its rollouts are ready"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_folder_are_inside() {
        for path in ["a.yaml", "a/b c.yaml", "manifests/ä.yaml"] {
            assert!(is_inside(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a//b",
            "C:\\x",
            "a\\..\\b",
            ".git/config",
            "a\nb",
            "archive.tar:x",
        ] {
            assert!(!is_inside(path), "{path}");
        }
    }

    #[test]
    fn names_of_branches_are_plain() {
        assert_eq!(name("Run.1_x"), "run-1-x");
        assert_eq!(name("../../$(x)"), "x");
        assert_eq!(name("…"), "run");
    }
}
