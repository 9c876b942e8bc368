//! Findings on stdout, in the format that was asked for.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use cli_support::escape;
use cli_support::output::Paint;
use corpus::{FileScan, Row, rows};
use domain::policy::PolicyId;
use domain::published::Detection;
use domain::scanner::Scanner;

use super::form::Form;
use super::outside::{NotJudged, Outside};
use super::text::{Grouped, line};
use crate::findings::ci::{github, github_unread, gitlab};
use crate::findings::fingerprints::Fingerprints;
use crate::findings::markdown::Summary;
use crate::findings::sarif::{self, SarifWriter};
use crate::findings::unread::Unread;
use crate::findings::{Lines, Located, OutsideFinding, junit, rdjson};

/// Writes findings to stdout.
pub(super) struct Writer {
    kind: Kind,
    /// Findings written so far.
    written: u64,
    /// Whether others than the built-in detector were asked: JSON is an object with them then.
    with_tools: bool,
}

enum Kind {
    Grouped(Grouped, BufWriter<StdoutLock<'static>>),
    Lines(BufWriter<StdoutLock<'static>>),
    Json(BufWriter<StdoutLock<'static>>),
    Jsonl(BufWriter<StdoutLock<'static>>),
    Sarif(Box<Sarif>),
    Github(BufWriter<StdoutLock<'static>>),
    Gitlab(BufWriter<StdoutLock<'static>>, Fingerprints),
    Rdjson(BufWriter<StdoutLock<'static>>),
    Junit(BufWriter<StdoutLock<'static>>),
    Markdown(BufWriter<StdoutLock<'static>>, Box<Summary>),
    Detections(BufWriter<StdoutLock<'static>>),
}

/// A log with a run for each scanner. The findings of all but the first are kept until its run has ended.
struct Sarif {
    writer: SarifWriter<BufWriter<StdoutLock<'static>>>,
    has_builtin: bool,
    later: BTreeMap<Scanner, Vec<Located>>,
}

impl Writer {
    /// `selected`: the policies that the built-in detector looks for; `None`: it is not asked.
    pub(super) fn begin(form: Form, selected: Option<&[PolicyId]>, outside: &Outside) -> io::Result<Self> {
        let out = || BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let kind = match form {
            Form::Text if io::stdout().is_terminal() => Kind::Grouped(Grouped::new(Paint::stdout()), out()),
            Form::Text => Kind::Lines(out()),
            Form::Json => {
                let mut out = out();
                if outside.has_tools() {
                    out.write_all(b"{\"findings\":")?;
                }
                Kind::Json(out)
            }
            Form::Jsonl => Kind::Jsonl(out()),
            Form::Sarif => {
                let mut writer = SarifWriter::begin(out())?;
                if let Some(selected) = selected {
                    writer.begin_run(&sarif::builtin(), sarif::rules_of(selected))?;
                }
                let has_builtin = selected.is_some();
                Kind::Sarif(Box::new(Sarif { writer, has_builtin, later: BTreeMap::new() }))
            }
            Form::Github => Kind::Github(out()),
            Form::Gitlab => Kind::Gitlab(out(), Fingerprints::default()),
            Form::Rdjson => {
                let mut out = out();
                write!(out, "{{\"source\":{},\"diagnostics\":", rdjson::source())?;
                Kind::Rdjson(out)
            }
            Form::Junit => {
                let mut out = out();
                junit::begin(&mut out)?;
                Kind::Junit(out)
            }
            Form::Markdown => Kind::Markdown(out(), Box::default()),
            Form::Detections => Kind::Detections(out()),
        };
        Ok(Self { kind, written: 0, with_tools: outside.has_tools() })
    }

    pub(super) fn file(
        &mut self,
        file: &FileScan,
        found: Vec<Located>,
        outside: &[Vec<OutsideFinding>],
        unread: &[Unread],
    ) -> anyhow::Result<()> {
        if let Kind::Detections(out) = &mut self.kind {
            for row in all_rows(file, outside) {
                let Some(object) = file.objects.get(row.at) else { continue };
                let record = Detection {
                    id: format!("{:03}", self.written + 1),
                    manifest_path: Some(file.path.clone()),
                    manifest_yaml: Some(object.place.object_text(&file.text, &object.document)),
                    policy_id: row.rule.to_owned(),
                    violation_text: sensitive::mask_text(row.message),
                };
                element(out, self.written, &escape::json(&serde_json::to_string(&record)?))?;
                self.written += 1;
            }
            return Ok(());
        }
        if let Kind::Junit(out) = &mut self.kind {
            let found: Vec<_> = found.iter().map(|located| (located, None)).collect();
            junit::suite(out, &file.path, &found, unread, false)?;
        }
        let mut lines = None;
        for located in found {
            match &mut self.kind {
                Kind::Grouped(grouped, out) => out.write_all(grouped.entry(&located).as_bytes())?,
                Kind::Lines(out) => out.write_all(line(&located).as_bytes())?,
                Kind::Json(out) => {
                    element(out, self.written, &escape::json(&serde_json::to_string(&located)?))?;
                }
                Kind::Jsonl(out) => writeln!(out, "{}", escape::json(&serde_json::to_string(&located)?))?,
                Kind::Github(out) => out.write_all(github(&located).as_bytes())?,
                Kind::Gitlab(out, fingerprints) => {
                    let entry = gitlab(&located, &fingerprints.of(&located));
                    element(out, self.written, &escape::json(&entry.to_string()))?;
                }
                Kind::Rdjson(out) => {
                    let lines = lines.get_or_insert_with(|| Lines::new(&file.text));
                    let entry = rdjson::diagnostic(&located, None, &file.text, lines);
                    element(out, self.written, &escape::json(&entry.to_string()))?;
                }
                Kind::Markdown(_, summary) => summary.add(&located, None),
                Kind::Sarif(sarif) if located.tool == Scanner::Builtin => sarif.writer.result(&located)?,
                Kind::Sarif(sarif) => sarif.later.entry(located.tool).or_default().push(located),
                Kind::Junit(_) | Kind::Detections(_) => {}
            }
            self.written += 1;
        }
        unread.iter().filter(|unread| unread.is_broken()).try_for_each(|unread| self.unread(unread))
    }

    /// An entry for what cannot be read, in the forms that have one for it.
    fn unread(&mut self, unread: &Unread) -> anyhow::Result<()> {
        match &mut self.kind {
            Kind::Github(out) => out.write_all(github_unread(unread).as_bytes())?,
            Kind::Gitlab(out, _) => {
                element(out, self.written, &escape::json(&unread.gitlab().to_string()))?;
                self.written += 1;
            }
            Kind::Rdjson(out) => {
                element(out, self.written, &escape::json(&unread.rdjson().to_string()))?;
                self.written += 1;
            }
            Kind::Markdown(_, summary) => summary.add_unread(unread),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn end(
        self,
        unread: &[Unread],
        outside: &Outside,
        not_judged: &[NotJudged],
    ) -> anyhow::Result<()> {
        let (is_empty, with_tools) = (self.written == 0, self.with_tools);
        let close =
            |out: &mut BufWriter<StdoutLock<'static>>| out.write_all(if is_empty { b"[]" } else { b"\n]" });
        match self.kind {
            Kind::Grouped(_, mut out)
            | Kind::Lines(mut out)
            | Kind::Jsonl(mut out)
            | Kind::Github(mut out) => {
                out.flush()?;
            }
            Kind::Json(mut out) => {
                close(&mut out)?;
                if with_tools {
                    let tools = serde_json::to_string(&outside.summaries(not_judged))?;
                    write!(out, ",\n\"tools\":{}}}", escape::json(&tools))?;
                }
                writeln!(out)?;
                out.flush()?;
            }
            Kind::Detections(mut out) | Kind::Gitlab(mut out, _) => {
                close(&mut out)?;
                writeln!(out)?;
                out.flush()?;
            }
            Kind::Rdjson(mut out) => {
                close(&mut out)?;
                writeln!(out, "}}")?;
                out.flush()?;
            }
            Kind::Junit(mut out) => {
                junit::end(&mut out)?;
                out.flush()?;
            }
            Kind::Markdown(mut out, summary) => {
                out.write_all(summary.text(false, false).as_bytes())?;
                out.flush()?;
            }
            Kind::Sarif(sarif) => sarif.end(unread, outside)?,
        }
        Ok(())
    }
}

impl Sarif {
    fn end(mut self, unread: &[Unread], outside: &Outside) -> anyhow::Result<()> {
        // What nobody could read stands in the first run.
        let mut unread = Some(unread);
        if self.has_builtin {
            self.writer.end_run(unread.take().unwrap_or_default())?;
        }
        for (scanner, version, checks) in outside.drivers() {
            let rules = checks.into_iter().map(sarif::rule_of_check).collect();
            self.writer.begin_run(&sarif::tool(scanner, version), rules)?;
            for located in self.later.remove(&scanner).unwrap_or_default() {
                self.writer.result(&located)?;
            }
            self.writer.end_run(unread.take().unwrap_or_default())?;
        }
        Ok(self.writer.end()?.flush()?)
    }
}

/// The rows of a file with those of other scanners; one for equal findings in one object.
fn all_rows<'a>(file: &'a FileScan, outside: &'a [Vec<OutsideFinding>]) -> Vec<Row<'a>> {
    let mut all = rows(file);
    if outside.is_empty() {
        return all;
    }
    for (at, found) in outside.iter().enumerate() {
        all.extend(found.iter().map(|finding| Row { rule: &finding.check, message: &finding.message, at }));
    }
    all.sort_unstable();
    all.dedup();
    all
}

pub(crate) fn element(out: &mut impl Write, before: u64, text: &str) -> io::Result<()> {
    out.write_all(if before == 0 { b"[\n" } else { b",\n" })?;
    out.write_all(text.as_bytes())
}
