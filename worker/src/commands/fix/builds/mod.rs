//! Repairs of charts and overlays: what a program rendered is repaired, and the repair is written into the file that the object
//! comes from, where that file surely says the same.
//!
//! *Never* writes into a template. *Invariant*: what was written is rendered again; where anything else comes of it than the
//! repaired objects, the file is restored.

mod plan;
mod proof;

use std::collections::BTreeMap;

use cli_support::{Exit, output};
use corpus::{FileScan, Positions, Scan};
use domain::config::{Context, RunConfig};
use domain::policy::PolicyId;

use self::plan::{Edit, Planned, plan};
use self::proof::Proof;
use super::allowed::{Allowed, HeldBack};
use super::file::repair_file;
use super::repaired::{Manner, Repaired};
use crate::commands::builds::{Build, Buildable, value_of};
use crate::commands::companions::store;
use crate::commands::detect::{Tally, counted};
use crate::commands::files::exclude::ExcludeArg;
use crate::commands::files::unreadable::UnreadableArg;
use crate::commands::repository::Repository;
use crate::repair::print_diff;

/// Repairs these charts and overlays.
pub(super) fn run(all: &[Buildable], how: How<'_>) -> anyhow::Result<Exit> {
    let mut repairs = Repairs { how, all, counts: Counts::new(how.unreadable) };
    for buildable in all {
        repairs.repair(buildable)?;
    }
    repairs.counts.finish(how.write)
}

/// How they are repaired.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    /// Whether files are written.
    pub(super) write: bool,
    /// Whether a document may be written anew.
    pub(super) rewrite: bool,
    pub(super) exclude: &'a ExcludeArg,
    pub(super) unreadable: UnreadableArg,
    pub(super) config: &'a RunConfig,
    pub(super) selected: &'a [PolicyId],
    pub(super) allowed: &'a Allowed,
    pub(super) repository: &'a Repository,
}

/// The repairs of everything that is named.
struct Repairs<'a> {
    how: How<'a>,
    /// Everything that is named: a file may be a part of several builds.
    all: &'a [Buildable],
    counts: Counts,
}

impl Repairs<'_> {
    /// Repairs one chart or overlay.
    fn repair(&mut self, buildable: &Buildable) -> anyhow::Result<()> {
        let limits = &self.how.config.limits;
        let build = buildable.build(limits)?;
        let repaired = self.repaired(&build)?;
        for (file, repaired) in &repaired {
            self.counts.take(file, repaired);
        }
        let Planned { edits, left } =
            plan(buildable, &build, &repaired, (self.how.rewrite, self.how.write), limits);
        for left in left {
            for line in &left.lines {
                output::say(&format!("{line}: not written: {}", left.why));
            }
            self.counts.left += left.lines.len() as u64;
            print_diff(&format!("{} (rendered)", left.path), &left.old, &left.new)?;
        }
        if edits.is_empty() {
            return Ok(());
        }
        if !self.how.write {
            for edit in edits {
                print_diff(&edit.file.path, &edit.file.text, &edit.text)?;
                self.made(&edit);
            }
            return Ok(());
        }
        let values = build.documents.iter().map(|built| value_of(&built.text, limits)).collect();
        let mut proof = Proof::begin(buildable, self.all, values, self.how.config, self.how.selected)?;
        for edit in edits {
            self.write(&edit, &mut proof)?;
        }
        Ok(())
    }

    /// The rendered files and their repairs.
    fn repaired(&self, build: &Build) -> anyhow::Result<Vec<(FileScan, Repaired)>> {
        let inputs = build.inputs().excluding(&self.how.exclude.exclude);
        let inputs = self.how.repository.excluding(inputs);
        let manner = Manner {
            selected: self.how.selected,
            rewrite: self.how.rewrite,
            rendered: true,
            tracked: false,
            allowed: self.how.allowed,
            suppressions: &self.how.repository.suppressions,
            config: self.how.config,
            gate: None,
            asker: None,
            stop: None,
        };
        let scan = Scan::survey(
            &inputs,
            self.how.config,
            self.how.selected.to_vec(),
            Context::Input,
            Positions::Left,
        )?;
        let mut all = Vec::new();
        scan.files::<_, anyhow::Error>(
            |mut file| {
                self.how.repository.suppressions.apply(&mut file);
                let repaired = repair_file(&file, manner);
                (file, repaired)
            },
            |(file, repaired)| {
                all.push((file, repaired?));
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// Writes an edit, and takes it back where not what is expected comes of it.
    fn write(&mut self, edit: &Edit, proof: &mut Proof<'_>) -> anyhow::Result<()> {
        let limits = &self.how.config.limits;
        let path = &edit.file.path;
        if let Err(error) = store(&edit.file, Some(&edit.text), None, limits) {
            output::say(&format!("{path}: {error:#}"));
            self.counts.failed += 1;
            self.counts.left += edit.lines.len() as u64;
            return Ok(());
        }
        let Err(why) = proof.holds(edit) else {
            self.made(edit);
            return Ok(());
        };
        let written = FileScan {
            path: path.clone(),
            text: edit.text.clone(),
            objects: Vec::new(),
            troubles: Vec::new(),
            skipped: Vec::new(),
            below: edit.file.below.clone(),
            spans: BTreeMap::new(),
        };
        store(&written, Some(&edit.file.text), None, limits).map_err(|error| {
            error.context(format!("{path} was repaired, {why}, and it cannot be restored"))
        })?;
        for line in &edit.lines {
            output::say(&format!("{line}: not written: {path} was restored, because {why}"));
        }
        self.counts.left += edit.lines.len() as u64;
        Ok(())
    }

    fn made(&mut self, edit: &Edit) {
        for line in &edit.lines {
            output::say(line);
        }
        self.counts.changed += 1;
        self.counts.applied += edit.lines.len() as u64;
    }
}

/// What was repaired so far, in numbers.
#[derive(Debug, Default)]
struct Counts {
    tally: Tally,
    held_back: HeldBack,
    applied: u64,
    left: u64,
    changed: u64,
    failed: u64,
}

impl Counts {
    fn new(unreadable: UnreadableArg) -> Self {
        Self { tally: Tally::new(unreadable), ..Self::default() }
    }

    fn take(&mut self, file: &FileScan, repaired: &Repaired) {
        self.tally.take_rendered(file);
        self.left += repaired.left;
        repaired.reasons.iter().for_each(|line| output::say(line));
        self.held_back.add(&repaired.held_back);
    }

    fn finish(self, writes: bool) -> anyhow::Result<Exit> {
        let Self { tally, held_back, applied, left, changed, failed } = self;
        tally.check()?;
        let verb = if writes { "written" } else { "to be written (--write)" };
        output::say(&format!(
            "{} in {} {verb}, {} left{}{}",
            counted(applied, "repair"),
            counted(changed, "file"),
            counted(left, "violation"),
            tally.suppressed(),
            tally.unreadable()
        ));
        if let Some(line) = held_back.line() {
            output::say(&line);
        }
        anyhow::ensure!(failed == 0, "{} could not be written", counted(failed, "file"));
        tally.complete()?;
        Ok(Exit::found(left > 0 || held_back.count() > 0 || (changed > 0 && !writes)))
    }
}
