//! Findings with what became of them on stdout, in the forms that reviews read: every finding is fixed, or carries its reason.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, StdoutLock, Write as _};

use clap::ValueEnum;
use cli_support::escape;
use corpus::FileScan;
use domain::policy::PolicyId;

use super::repaired::Repaired;
use crate::commands::companions::Companions;
use crate::commands::detect::element;
use crate::findings::change::Change;
use crate::findings::ci::{github, github_unread, gitlab};
use crate::findings::fingerprints::Fingerprints;
use crate::findings::markdown::Summary;
use crate::findings::outcome::Outcome;
use crate::findings::review::{Beside, Fix, Reviewed};
use crate::findings::sarif::{self, SarifWriter};
use crate::findings::unread::Unread;
use crate::findings::{Lines, Located, junit, rdjson};

/// What is written to stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A diff of each file, or nothing when they are written
    #[default]
    Diff,
    /// One JSON array of findings, with the edits that fix them
    Json,
    /// SARIF 2.1.0 with `fixes`
    Sarif,
    /// Reviewdog Diagnostic Format, with suggestions
    Rdjson,
    /// Annotations of GitHub Actions
    Github,
    /// Code quality report of GitLab
    Gitlab,
    #[value(help = "JUnit XML: a finding that is not fixed is a failure")]
    Junit,
    /// A summary for a comment
    Markdown,
}

/// Writes the findings of files.
pub(super) struct Report {
    kind: Kind,
    /// Whether the repairs are written into the files.
    written: bool,
    /// Findings written so far.
    count: u64,
}

enum Kind {
    Json(Out),
    Sarif(Box<SarifWriter<Out>>),
    Rdjson(Out),
    Github(Out),
    Gitlab(Out, Fingerprints),
    Junit(Out),
    Markdown(Out, Box<Summary>),
}

type Out = BufWriter<StdoutLock<'static>>;

/// The findings of a file, and what became of each.
#[derive(Debug)]
pub(super) struct Review {
    found: Vec<Located>,
    outcomes: Vec<Outcome>,
    changes: Vec<Change>,
    /// Of each change, its first finding and the policies whose repairs it is.
    carriers: Vec<(usize, Vec<PolicyId>)>,
    /// Of each finding, its change.
    change_of: Vec<Option<usize>>,
    /// The change that the companions come with.
    with_companions: Option<usize>,
}

impl Review {
    /// Joins the findings of a file, in the order in which they were located, with its repairs.
    pub(super) fn new(file: &FileScan, found: Vec<Located>, repaired: &Repaired) -> Self {
        let objects = file.objects.iter().enumerate();
        let places: Vec<(usize, PolicyId)> = objects
            .flat_map(|(at, object)| object.findings.iter().map(move |finding| (at, finding.policy)))
            .collect();
        let outcome = |place| repaired.outcomes.get(place).cloned().unwrap_or(Outcome::FixedWithOthers);
        let outcomes = places.iter().map(outcome).collect();
        let is_found = |change: &Change| {
            let mut own = change.repairs.iter().filter_map(|repair| repaired.repairs.get(*repair));
            own.any(|repair| places.contains(&(repair.object, repair.policy)))
        };
        // A repair of what an earlier repair brought about has no finding: it goes with another one.
        let (mut changes, orphans) = joined(repaired.changes.clone(), |change| !is_found(change));
        if let (Some(orphans), Some(first)) = (orphans, changes.first_mut()) {
            *first = together([first.clone(), orphans]);
        }
        let needs_companion = |change: &Change| {
            let mut own = change.repairs.iter().filter_map(|repair| repaired.repairs.get(*repair));
            own.any(|repair| !repair.companions.is_empty())
        };
        // Their file is one, so that their changes are.
        let (mut changes, with) = joined(changes, needs_companion);
        let with_companions = with.is_some().then_some(changes.len());
        changes.extend(with);
        let mut change_of_place: BTreeMap<(usize, PolicyId), usize> = BTreeMap::new();
        for (number, change) in changes.iter().enumerate() {
            let own = change.repairs.iter().filter_map(|repair| repaired.repairs.get(*repair));
            change_of_place.extend(own.map(|repair| ((repair.object, repair.policy), number)));
        }
        let change_of: Vec<Option<usize>> =
            places.iter().map(|place| change_of_place.get(place).copied()).collect();
        let carrier = |(number, change): (usize, &Change)| {
            let first = change_of.iter().position(|of| *of == Some(number)).unwrap_or(0);
            let own = change.repairs.iter().filter_map(|repair| repaired.repairs.get(*repair));
            let mut policies: Vec<PolicyId> = own.map(|repair| repair.policy).collect();
            policies.sort_unstable();
            policies.dedup();
            (first, policies)
        };
        let carriers = changes.iter().enumerate().map(carrier).collect();
        Self { found, outcomes, changes, carriers, change_of, with_companions }
    }

    /// Nothing was written: nothing is fixed.
    pub(super) fn fail(&mut self, why: &str) {
        for outcome in self.outcomes.iter_mut().filter(|outcome| outcome.is_fixed()) {
            *outcome = Outcome::Left(why.to_owned());
        }
        self.changes.clear();
        self.carriers.clear();
        self.change_of.fill(None);
    }

    /// The findings, the changes at the first finding of each. `beside`: the companions' file; `written`: the repairs are in the
    /// files.
    fn reviewed<'r>(&'r self, beside: Option<&'r Companions>, written: bool) -> Vec<Reviewed<'r>> {
        let all = self.found.iter().zip(&self.outcomes).zip(&self.change_of).enumerate();
        all.map(|(at, ((found, outcome), change))| {
            let mut reviewed = Reviewed { found, outcome, fix: None, note: None, written };
            let own = self.carriers.iter().position(|(first, _)| *first == at);
            let number = own.or(*change);
            let companions = beside.filter(|_| number.is_some() && number == self.with_companions);
            if let Some(companions) = companions {
                let secret = if companions.private { ", which holds a secret and is not shown" } else { "" };
                reviewed.note = Some(format!("with {}{secret}", companions.path));
            }
            let is_secret = companions.is_some_and(|companions| companions.private);
            if let (Some(number), false) = (own, is_secret)
                && let (Some(change), Some((_, policies))) =
                    (self.changes.get(number), self.carriers.get(number))
            {
                let companions = companions.map(|companions| Beside {
                    path: &companions.path,
                    old: &companions.old,
                    new: &companions.new,
                });
                reviewed.fix = Some(Fix { change, policies: policies.clone(), companions });
            } else if own.is_none()
                && let Some((first, _)) = change.and_then(|change| self.carriers.get(change))
                && let Some(first) = self.found.get(*first).filter(|_| !is_secret)
                && let Some(region) = first.region
            {
                reviewed.note = Some(format!("its change stands with that of line {}", region.line));
            }
            reviewed
        })
        .collect()
    }
}

/// The changes that do not fit, and those that do as one.
fn joined(changes: Vec<Change>, fits: impl Fn(&Change) -> bool) -> (Vec<Change>, Option<Change>) {
    let (fitting, others): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(fits);
    let one = (!fitting.is_empty()).then(|| together(fitting));
    (others, one)
}

fn together(changes: impl IntoIterator<Item = Change>) -> Change {
    let mut one = Change::default();
    for change in changes {
        one.repairs.extend(change.repairs);
        one.edits.extend(change.edits);
    }
    one.edits.sort_by_key(|edit| edit.old.start);
    one
}

impl Report {
    /// Begins a report; `None` for diffs. `written`: the repairs are written into the files.
    pub(super) fn begin(form: Form, selected: &[PolicyId], written: bool) -> io::Result<Option<Self>> {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let kind = match form {
            Form::Diff => return Ok(None),
            Form::Json => Kind::Json(out),
            Form::Sarif => {
                let mut writer = SarifWriter::begin(out)?;
                writer.begin_run(&sarif::builtin(), sarif::rules_of(selected))?;
                Kind::Sarif(Box::new(writer))
            }
            Form::Rdjson => {
                write!(out, "{{\"source\":{},\"diagnostics\":", rdjson::source())?;
                Kind::Rdjson(out)
            }
            Form::Github => Kind::Github(out),
            Form::Gitlab => Kind::Gitlab(out, Fingerprints::default()),
            Form::Junit => {
                junit::begin(&mut out)?;
                Kind::Junit(out)
            }
            Form::Markdown => Kind::Markdown(out, Box::default()),
        };
        Ok(Some(Self { kind, written, count: 0 }))
    }

    /// Writes the findings of a file.
    pub(super) fn file(
        &mut self,
        file: &FileScan,
        review: &Review,
        companions: Option<&Companions>,
        unread: &[Unread],
    ) -> anyhow::Result<()> {
        let lines = Lines::new(&file.text);
        let mut all = review.reviewed(companions, self.written);
        if self.written {
            for reviewed in &mut all {
                reviewed.fix = None;
            }
        }
        if let Kind::Junit(out) = &mut self.kind {
            let found: Vec<_> = all.iter().map(|reviewed| (reviewed.found, Some(reviewed))).collect();
            junit::suite(out, &file.path, &found, unread, self.written)?;
        }
        for reviewed in &all {
            match &mut self.kind {
                Kind::Json(out) => {
                    let value = reviewed.json(&file.text, &lines)?;
                    element(out, self.count, &escape::json(&value.to_string()))?;
                }
                Kind::Sarif(writer) => writer.reviewed(reviewed, &file.text, &lines, self.written)?,
                Kind::Rdjson(out) => {
                    let value = rdjson::diagnostic(reviewed.found, Some(reviewed), &file.text, &lines);
                    element(out, self.count, &escape::json(&value.to_string()))?;
                }
                Kind::Github(out) => out.write_all(github(&reviewed.told()).as_bytes())?,
                Kind::Gitlab(out, fingerprints) => {
                    let fingerprint = fingerprints.of(reviewed.found);
                    let entry = gitlab(&reviewed.told(), &fingerprint).to_string();
                    element(out, self.count, &escape::json(&entry))?;
                }
                Kind::Junit(_) => {}
                Kind::Markdown(_, summary) => summary.add(reviewed.found, Some(reviewed)),
            }
            self.count += 1;
        }
        unread.iter().filter(|unread| unread.is_broken()).try_for_each(|unread| self.unread(unread))
    }

    /// An entry for what cannot be read, in the forms that have one for it.
    fn unread(&mut self, unread: &Unread) -> anyhow::Result<()> {
        let entry = match &mut self.kind {
            Kind::Github(out) => return Ok(out.write_all(github_unread(unread).as_bytes())?),
            Kind::Markdown(_, summary) => {
                summary.add_unread(unread);
                return Ok(());
            }
            Kind::Gitlab(out, _) => element(out, self.count, &escape::json(&unread.gitlab().to_string())),
            Kind::Rdjson(out) => element(out, self.count, &escape::json(&unread.rdjson().to_string())),
            Kind::Json(_) | Kind::Sarif(_) | Kind::Junit(_) => return Ok(()),
        };
        self.count += 1;
        Ok(entry?)
    }

    /// Ends the report. `unread`: what could not be read.
    pub(super) fn end(self, unread: &[Unread]) -> anyhow::Result<()> {
        let close = if self.count == 0 { "[]" } else { "\n]" };
        match self.kind {
            Kind::Json(mut out) | Kind::Gitlab(mut out, _) => {
                writeln!(out, "{close}")?;
                out.flush()?;
            }
            Kind::Rdjson(mut out) => {
                writeln!(out, "{close}}}")?;
                out.flush()?;
            }
            Kind::Sarif(mut writer) => {
                writer.end_run(unread)?;
                writer.end()?.flush()?;
            }
            Kind::Github(mut out) => out.flush()?,
            Kind::Junit(mut out) => {
                junit::end(&mut out)?;
                out.flush()?;
            }
            Kind::Markdown(mut out, summary) => {
                out.write_all(summary.text(true, self.written).as_bytes())?;
                out.flush()?;
            }
        }
        Ok(())
    }
}
