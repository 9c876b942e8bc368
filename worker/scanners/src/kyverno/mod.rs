//! Kyverno's CLI with the user's policies: one process for a batch of documents; a batch on which it dies is tried again by
//! halves, until the document is known.
//!
//! *Invariant*: every process judges a document of our own by a policy of our own as well. Without that verdict nothing that
//! it wrote counts: a process without findings is told from one that did nothing.

mod batch;
mod policies;
mod report;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::documents::Documents;
use crate::error::{Failure, ScannerError};
use crate::process::{Output, quoted};
use crate::program::Program;
use crate::report::{Report, Unjudged, Verdicts};

use batch::Batch;
pub(crate) use policies::Policies;

/// Documents of one process.
const BATCH: usize = 200;
/// Documents that may kill it before it has judged one.
const MOST_CULPRITS: usize = 3;

/// The version in the output of `kyverno version`.
pub(crate) fn version(output: &str) -> Option<String> {
    let word = output.lines().find_map(|line| line.trim().strip_prefix("Version:"))?.trim();
    (!word.is_empty() && word != "---").then(|| word.trim_start_matches('v').to_owned())
}

/// The names of files and folders in the working folder of a process.
const POLICIES: &str = "policies";
const OWN: &str = "own-policy.yaml";
const BATCH_FILE: &str = "batch.yaml";
/// Where mutated documents go, so that they do not stand between reports.
const MUTATED: &str = "mutated";

/// What it says on standard error, where it is told to say more, of policies that it leaves out.
const LEFT_OUT: [&str; 2] = ["skipping invalid YAML file", "Non-fatal parsing error"];

fn arguments(more: &[&str]) -> Vec<OsString> {
    let fixed =
        ["apply", POLICIES, OWN, "--resource", BATCH_FILE, "--policy-report", "--output-format", "json"];
    let output = ["--remove-color", "--output", MUTATED];
    fixed.into_iter().chain(output).chain(more.iter().copied()).map(OsString::from).collect()
}

/// Lays the policies out in the working folder of processes.
fn lay_out(policies: &Policies, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join(MUTATED))?;
    policies.write(&folder.join(POLICIES))?;
    fs::write(folder.join(OWN), batch::OWN_POLICY)
}

/// Applies the policies to a document of our own. Of policies that it cannot read it says nothing otherwise, and leaves out all
/// of their folder.
pub(crate) fn check(program: &Program, policies: &Policies, folder: &Path) -> Result<(), ScannerError> {
    let scratch = |error| program.scratch(folder, error);
    lay_out(policies, folder).map_err(scratch)?;
    let batch = Batch::empty();
    fs::write(folder.join(BATCH_FILE), batch.text()).map_err(scratch)?;
    let output = program.run(&arguments(&["-v", "3"]), folder).map_err(|failure| program.failed(failure))?;
    let lines = output.stderr.lines().filter(|line| LEFT_OUT.iter().any(|said| line.contains(said)));
    let said: Vec<&str> = lines.collect();
    if !said.is_empty() {
        let list = policies.own_names(&quoted(&said.join("\n")));
        return Err(program.failed(Failure::Policies { list }));
    }
    report::read(&output, &batch).map(|_| ()).map_err(|failure| program.failed(failure))
}

/// Applies the policies to all documents.
pub(crate) fn scan(
    program: &Program,
    policies: &Policies,
    documents: &Documents,
) -> Result<Report, ScannerError> {
    let folder = documents.workplace("kyverno").map_err(|error| program.scratch(documents.root(), error))?;
    lay_out(policies, &folder).map_err(|error| program.scratch(&folder, error))?;
    let mut scan = Scan {
        program,
        documents,
        folder,
        report: Report {
            judged: Some(BTreeSet::new()),
            verdicts: Some(Verdicts::default()),
            ..Report::default()
        },
        has_judged: false,
        culprits: 0,
    };
    let all: Vec<usize> = (0..documents.len()).collect();
    for numbers in all.chunks(BATCH) {
        scan.judge(numbers)?;
    }
    Ok(scan.report.sorted())
}

struct Scan<'a> {
    program: &'a Program,
    documents: &'a Documents,
    folder: PathBuf,
    report: Report,
    /// Whether a process did what it should.
    has_judged: bool,
    culprits: usize,
}

impl Scan<'_> {
    /// Judges documents, by halves where the process dies. Fails where it dies of no document in particular.
    fn judge(&mut self, numbers: &[usize]) -> Result<(), ScannerError> {
        let mut open = vec![numbers.to_vec()];
        while let Some(numbers) = open.pop() {
            let failure = match self.process(&numbers)? {
                Ok(()) => continue,
                Err(failure) => failure,
            };
            match &numbers[..] {
                [one] if failure.may_be_of_a_document() => {
                    self.culprits += 1;
                    if !self.has_judged && (self.culprits >= MOST_CULPRITS || self.documents.len() == 1) {
                        return Err(self.program.failed(failure));
                    }
                    self.report.unjudged.push(Unjudged { document: *one, reason: failure.to_string() });
                }
                [_, _, ..] if failure.may_be_of_a_document() => {
                    let (first, second) = numbers.split_at(numbers.len() / 2);
                    // The first half is judged first.
                    open.extend([second.to_vec(), first.to_vec()]);
                }
                _ => return Err(self.program.failed(failure)),
            }
        }
        if self.has_judged || self.report.unjudged.len() < self.documents.len() {
            return Ok(());
        }
        Err(self.program.failed(Failure::Garbage { reason: "it can judge none of the documents".to_owned() }))
    }

    /// Judges documents by one process.
    fn process(&mut self, numbers: &[usize]) -> Result<Result<(), Failure>, ScannerError> {
        let scratch = |error| self.program.scratch(&self.folder, error);
        let (batch, left_out) = Batch::of(numbers, self.documents).map_err(scratch)?;
        fs::write(self.folder.join(BATCH_FILE), batch.text()).map_err(scratch)?;
        let output = self.program.run(&arguments(&[]), &self.folder);
        let read = output.and_then(|output: Output| report::read(&output, &batch));
        let judged = match read {
            Ok(judged) => judged,
            Err(failure) => return Ok(Err(failure)),
        };
        self.has_judged = true;
        self.add(judged);
        self.report.unjudged.extend(left_out);
        Ok(Ok(()))
    }

    fn add(&mut self, part: Report) {
        let Report { findings, unjudged, verdicts, judged } = part;
        let whole = &mut self.report;
        whole.findings.extend(findings);
        whole.unjudged.extend(unjudged);
        whole.judged.get_or_insert_default().extend(judged.unwrap_or_default());
        let (sum, part) = (whole.verdicts.get_or_insert_default(), verdicts.unwrap_or_default());
        sum.passed += part.passed;
        sum.failed += part.failed;
        sum.warned += part.warned;
        sum.errors += part.errors;
        sum.skipped += part.skipped;
    }
}

#[cfg(test)]
mod tests;
