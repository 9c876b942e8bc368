//! Writes or shows the repairs of files, and counts.

use cli_support::{Exit, output};
use domain::config::RunConfig;

use super::allowed::HeldBack;
use super::repaired::Repaired;
use super::report::{Report, Review};
use super::revert::{Recorder, entry_of};
use super::target::Target;
use crate::commands::companions::{Companions, companions_of};
use crate::commands::detect::{Tally, counted};
use crate::commands::files::unreadable::UnreadableArg;
use crate::repair::print_diff;
use corpus::FileScan;

/// Where repairs go, and what was repaired so far in numbers.
pub(super) struct Done<'a> {
    pub(super) target: Target,
    /// What undoes the repairs is written there.
    pub(super) recorder: Option<Recorder>,
    /// Findings with what became of them; `None`: diffs are shown.
    pub(super) report: Option<Report>,
    pub(super) config: &'a RunConfig,
    pub(super) counts: Counts,
}

/// What was repaired so far, in numbers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    tally: Tally,
    unreadable: UnreadableArg,
    held_back: HeldBack,
    applied: u64,
    left: u64,
    /// Files with repairs.
    changed: u64,
    /// Files of companions among what was written.
    companions: u64,
    /// Files that could not be written.
    failed: u64,
}

impl Counts {
    pub(super) fn new(unreadable: UnreadableArg) -> Self {
        Self { tally: Tally::new(unreadable), unreadable, ..Self::default() }
    }
}

impl Done<'_> {
    /// Writes the repairs of a file, or shows them.
    pub(super) fn take(
        &mut self,
        file: &FileScan,
        mut repaired: Repaired,
        review: Option<Review>,
    ) -> anyhow::Result<()> {
        self.counts.tally.take(file);
        self.counts.left += repaired.left;
        if self.report.is_none() {
            repaired.reasons.iter().for_each(|line| output::say(line));
        }
        self.counts.held_back.add(&repaired.held_back);
        let mut review = review;
        let companions = match self.written(file, &repaired) {
            Ok(companions) => companions,
            Err(error) => {
                self.counts.failed += 1;
                // What would have been repaired is left.
                self.counts.left += repaired.repairs.len() as u64;
                output::say(&format!("{}: {error:#}", file.path));
                if let Some(review) = &mut review {
                    review.fail(&format!("{error:#}"));
                }
                repaired.text = None;
                repaired.repairs.clear();
                None
            }
        };
        if let (Some(report), Some(review)) = (&mut self.report, &review) {
            let unread = self.counts.unreadable.unread(file, false);
            report.file(file, review, companions.as_ref(), &unread)?;
        }
        if repaired.text.is_none() && companions.is_none() {
            return Ok(());
        }
        self.counts.changed += 1;
        self.counts.applied += repaired.repairs.len() as u64;
        self.counts.companions += u64::from(companions.is_some());
        if self.report.is_some() {
            return Ok(());
        }
        let made = self.target.writes();
        repaired.repairs.iter().for_each(|repair| output::say(&repair.line(made)));
        if let Some(companions) = &companions {
            let verb = if self.target.writes() { "written" } else { "to be written" };
            output::say(&format!("{}: companions {verb}: {}", file.path, companions.path));
        }
        if !self.target.writes() {
            print_diff(&file.path, &file.text, repaired.text.as_deref().unwrap_or(&file.text))?;
            if let Some(companions) = companions {
                print_diff(&companions.path, &companions.old, &companions.new)?;
            }
        }
        Ok(())
    }

    /// Writes the repairs of a file, after what undoes them.
    fn written(&mut self, file: &FileScan, repaired: &Repaired) -> anyhow::Result<Option<Companions>> {
        let text = repaired.text.as_deref();
        let companions = companions_of(file, &repaired.companions, self.config)?;
        if text.is_none() && companions.is_none() {
            return Ok(None);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.push(&entry_of(file, repaired, companions.as_ref()))?;
        }
        let names = self.target.write(file, text, companions.as_ref(), &self.config.limits)?;
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
            output::say(&format!("{}: written under its other names too: {}", file.path, names.join(", ")));
        }
        Ok(companions)
    }

    /// Ends the report and writes the summary to stderr; returns the exit code.
    pub(super) fn finish(self) -> anyhow::Result<Exit> {
        let Counts { tally, held_back, applied, left, changed, companions, failed, .. } = self.counts;
        if let Some(report) = self.report {
            report.end(&tally.unread)?;
        }
        tally.check()?;
        let writes = self.target.writes();
        let verb = if writes { "written" } else { "to be written (--write)" };
        let beside = if companions > 0 {
            format!(" and {} of companions", counted(companions, "file"))
        } else {
            String::new()
        };
        output::say(&format!(
            "{} in {}{beside} {verb}, {} left{}{}",
            counted(applied, "repair"),
            counted(changed, "file"),
            counted(left, if held_back.count() > 0 { "other violation" } else { "violation" }),
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
