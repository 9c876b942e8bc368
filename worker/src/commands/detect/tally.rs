//! What was read and found, in numbers: the summary line and the exit code.

use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use corpus::{FileScan, TroubleSort};

use super::fail_on::FailOn;
use super::form::counted;
use super::remarks::{About, Remark, is_object, remarks};
use crate::commands::files::unreadable::UnreadableArg;
use crate::findings::unread::Unread;

/// Counts for the summary line and the exit code.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    files: u64,
    objects: u64,
    pub(super) findings: u64,
    /// Of the findings, the errors that are not known.
    pub(super) errors: u64,
    /// Of the findings, those that the baseline holds.
    pub(super) known: u64,
    /// Findings that annotations except.
    excepted: u64,
    /// Findings that the settings of the repository suppress.
    suppressed: u64,
    /// Documents in which nothing is looked for.
    fragments: u64,
    /// Documents with placeholders of a template that was never rendered, whether or not they can be read.
    unrendered: u64,
    /// What cannot be read, the first of it.
    pub(crate) unread: Vec<Unread>,
    /// Everything that cannot be read.
    unread_count: u64,
    /// Of it, what may hold objects that nothing was looked for in.
    broken: u64,
    /// Of it, documents that are not objects.
    not_objects: u64,
    /// Of it, links to folders.
    links: u64,
    unreadable: UnreadableArg,
}

/// Most unreadable documents that are kept for the end of the output.
const MOST_UNREAD: usize = 10_000;

impl Tally {
    /// A tally of nothing yet; `unreadable`: whether the command may go on without what it cannot read.
    pub(crate) fn new(unreadable: UnreadableArg) -> Self {
        Self { unreadable, ..Self::default() }
    }

    /// Counts a file, and says on stderr what is to be said of it besides its findings.
    pub(crate) fn take(&mut self, file: &FileScan) {
        self.count(file);
        for remark in remarks(file) {
            self.note(remark);
        }
    }

    fn count(&mut self, file: &FileScan) {
        self.files += 1;
        self.objects += file.objects.iter().filter(|object| is_object(object)).count() as u64;
        self.findings += file.objects.iter().map(|object| object.findings.len() as u64).sum::<u64>();
        self.unrendered += file.objects.iter().filter(|object| object.is_unrendered).count() as u64;
    }

    /// As [`Self::take`], of a file that a program rendered: its lines are not those of the file that it names.
    pub(crate) fn take_rendered(&mut self, file: &FileScan) {
        self.count(file);
        for remark in remarks(file) {
            self.note(Remark { line: None, ..remark });
        }
    }

    /// Counts a remark, and says it.
    pub(super) fn note(&mut self, remark: Remark) {
        output::say(&remark.text());
        match remark.about {
            About::LeftAlone => self.fragments += 1,
            About::Excepted => self.excepted += 1,
            About::Suppressed => self.suppressed += 1,
            About::Unreadable(sort) => {
                self.unread_count += 1;
                match sort {
                    TroubleSort::Broken => self.broken += 1,
                    TroubleSort::Template => self.unrendered += 1,
                    TroubleSort::NotAnObject => self.not_objects += 1,
                    TroubleSort::FolderLink => self.links += 1,
                }
                if self.unread.len() < MOST_UNREAD {
                    self.unread.extend(self.unreadable.of(remark));
                }
            }
        }
    }

    /// The findings that the settings of the repository suppress, for a summary; empty: none.
    pub(crate) fn suppressed(&self) -> String {
        if self.suppressed > 0 {
            format!(", {} suppressed by the repository", self.suppressed)
        } else {
            String::new()
        }
    }

    /// Fails when nothing was read.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.objects > 0 || self.fragments > 0 {
            return Ok(());
        }
        if self.unread_count > 0 {
            let documents = counted(self.unread_count, "document");
            anyhow::bail!("nothing could be read: {documents} cannot be parsed");
        }
        Err(anyhow::anyhow!("found no manifest in {}", counted(self.files, "file")))
            .hint("name folders or files that hold .yaml, .yml or .json manifests")
    }

    /// What could not be read, for a summary; empty: nothing.
    pub(crate) fn unreadable(&self) -> String {
        if self.broken > 0 { format!(", {} unreadable", self.broken) } else { String::new() }
    }

    /// Fails where something could not be read, and that is not allowed: what was not looked at is not clean.
    pub(crate) fn complete(&self) -> anyhow::Result<()> {
        if self.broken == 0 || self.unreadable.ignore_unreadable {
            return Ok(());
        }
        let documents = counted(self.broken, "document");
        Err(anyhow::anyhow!("could not check everything: {documents} cannot be read")).hint(
            "mend them, leave them out with --exclude GLOB, or go on without them with --ignore-unreadable",
        )
    }

    /// Writes the summary line to stderr; returns the exit code.
    pub(super) fn close(&self, fail_on: FailOn) -> anyhow::Result<Exit> {
        self.check()?;
        let excepted = if self.excepted > 0 {
            format!(", {} excepted by annotations", self.excepted)
        } else {
            String::new()
        };
        let some = |number: u64, what: &str| {
            if number > 0 { format!(", {} {what}", counted(number, "document")) } else { String::new() }
        };
        let suppressed = self.suppressed();
        let unreadable = self.unreadable();
        let fragments = some(self.fragments + self.not_objects, "left alone");
        let links = match self.links {
            0 => String::new(),
            links => format!(", {} to folders not followed", counted(links, "link")),
        };
        let unrendered = some(self.unrendered, "with unrendered placeholders");
        let findings = self.findings.saturating_sub(self.known);
        let known = if self.known > 0 { format!(", {} of the baseline", self.known) } else { String::new() };
        let line = format!(
            "{} in {} of {}{known}{excepted}{suppressed}{fragments}{unrendered}{links}{unreadable}",
            counted(findings, "finding"),
            counted(self.objects, "object"),
            counted(self.files, "file")
        );
        output::say(&line);
        self.complete()?;
        Ok(Exit::found(match fail_on {
            FailOn::Error => self.errors > 0,
            FailOn::Warning => findings > 0,
            FailOn::Never => false,
        }))
    }
}
