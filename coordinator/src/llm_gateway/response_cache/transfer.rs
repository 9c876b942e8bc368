//! Export and import of the response cache as JSON lines.

use std::io::{BufRead, Write};
use std::sync::Arc;

use domain::answer::Answer;
use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::budget::{Charge, Usage};
use domain::ids::{AnswerKey, DocumentHash};
use serde::{Deserialize, Serialize};

use super::entry::{finish_of, finish_word};
use super::rows::CachedRow;
use super::verdicts::Verdicts as _;
use super::{CacheEntry, CacheError, ResponseCache, Used};

/// Longest line that is read, in bytes: an answer of the greatest length with every byte escaped, and the other fields.
const LINE_BYTES: u64 = 6 * proto::convert::ANSWER_BYTES as u64 + (1 << 16);

/// Answers in one transaction.
const BATCH: usize = 500;

/// Line of an export. The names of the fields are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    key: AnswerKey,
    /// `endpoint` in exports of older releases, which named the URL.
    #[serde(default, alias = "endpoint")]
    provider: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    answered_by: String,
    content: String,
    finish: String,
    usage: Usage,
    #[serde(default, skip_serializing_if = "Charge::is_usual")]
    charge: Charge,
    created_at_ms: u64,
    #[serde(default)]
    run_id: String,
}

/// Counts of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Answers that were inserted.
    pub(crate) new: u64,
    /// Answers whose keys were stored before; the stored ones stay.
    pub(crate) known: u64,
}

/// Failure of an export or import.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// A line is not an answer. The lines before it were imported.
    #[error("line {line}: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: u64,
        /// Cause.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("line {line} cannot be read or written: {source}")]
    File {
        /// Number of the line, from 1.
        line: u64,
        /// Cause.
        source: std::io::Error,
    },
    /// The response cache failed.
    #[error(transparent)]
    Store(#[from] CacheError),
}

/// Writes every intact answer, one a line, oldest first; returns how many, and how many damaged ones were left out.
pub(crate) fn export(store: &ResponseCache, out: &mut dyn Write) -> Result<(u64, u64), ImportError> {
    let mut count = 0;
    let damaged = store.each(|kept| {
        count += 1;
        write_line(&Line::of(kept), count, out)
    })?;
    out.flush().map_err(|source| ImportError::File { line: count, source })?;
    Ok((count, damaged))
}

fn write_line(line: &impl Serialize, number: u64, out: &mut dyn Write) -> Result<(), ImportError> {
    let failed = |source| ImportError::File { line: number, source };
    serde_json::to_writer(&mut *out, line).map_err(|error| failed(error.into()))?;
    out.write_all(b"\n").map_err(failed)
}

impl Line {
    fn of(kept: &CachedRow) -> Self {
        let answer = &kept.stored.answer;
        Self {
            key: kept.key,
            provider: kept.provider.clone(),
            model: kept.model.clone(),
            answered_by: answer.model.clone(),
            content: answer.content.clone(),
            finish: finish_word(&answer.finish).to_owned(),
            usage: answer.usage,
            charge: answer.charge,
            created_at_ms: kept.stored.created_at_ms,
            run_id: kept.run_id.clone(),
        }
    }
}

impl Used {
    /// Writes the answers that were used, one a line, in the order of their keys.
    pub(crate) fn export_answers(&self, out: &mut dyn Write) -> Result<(), ImportError> {
        for (number, kept) in (1..).zip(self.answers.values()) {
            write_line(&Line::of(kept), number, out)?;
        }
        Ok(())
    }

    /// Writes the verdicts that were used, one a line, in the order of the texts that they are about.
    pub(crate) fn export_verdicts(&self, out: &mut dyn Write) -> Result<(), ImportError> {
        for (number, ((version, flags, text), verdict)) in (1..).zip(&self.verdicts) {
            let (version, flags, verdict) = (version.clone(), flags.clone(), verdict.clone());
            write_line(&VerdictLine { version, flags, text: *text, verdict }, number, out)?;
        }
        Ok(())
    }
}

/// Line of an export of verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VerdictLine {
    /// Version and flags of the server.
    version: String,
    flags: String,
    /// Hash of the text that it was asked about.
    text: DocumentHash,
    verdict: ServerVerdict,
}

/// Imports verdicts; stored ones stay. Returns how many lines there are.
pub(crate) fn import_verdicts(store: &ResponseCache, from: &mut dyn BufRead) -> Result<u64, ImportError> {
    let (mut number, mut text) = (0, Vec::new());
    loop {
        number += 1;
        text.clear();
        let read = std::io::Read::take(&mut *from, LINE_BYTES).read_until(b'\n', &mut text);
        if read.map_err(|source| ImportError::File { line: number, source })? == 0 {
            return Ok(number - 1);
        }
        let bad = |reason: String| ImportError::Line { line: number, reason };
        let line: VerdictLine =
            serde_json::from_slice(&text).map_err(|error| bad(format!("is not a verdict: {error}")))?;
        let server = ServerIdentity::new(line.version, line.flags).map_err(|error| bad(error.to_string()))?;
        store.put_verdicts(&server, &[(line.text, line.verdict)])?;
    }
}

/// Imports answers; stored ones are not overwritten.
pub(crate) fn import(store: &ResponseCache, from: &mut dyn BufRead) -> Result<Imported, ImportError> {
    let (mut imported, mut batch, mut number) = (Imported::default(), Vec::new(), 0);
    let mut put = |batch: &mut Vec<_>| {
        let new = store.put_absent(batch)?;
        imported.new += new;
        imported.known += batch.len() as u64 - new;
        batch.clear();
        Ok::<_, CacheError>(())
    };
    let mut text = Vec::new();
    loop {
        number += 1;
        text.clear();
        let read = std::io::Read::take(&mut *from, LINE_BYTES).read_until(b'\n', &mut text);
        let read = read.map_err(|source| ImportError::File { line: number, source })?;
        if read == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        match parse(&text) {
            Ok(entry) => batch.push(entry),
            Err(reason) => {
                put(&mut batch)?;
                return Err(ImportError::Line { line: number, reason });
            }
        }
        if batch.len() >= BATCH {
            put(&mut batch)?;
        }
    }
    put(&mut batch)?;
    Ok(imported)
}

fn parse(text: &[u8]) -> Result<(AnswerKey, CacheEntry, String), String> {
    if text.len() as u64 >= LINE_BYTES {
        return Err(format!("is longer than {LINE_BYTES} bytes"));
    }
    let line: Line = serde_json::from_slice(text).map_err(|error| format!("is not an answer: {error}"))?;
    let answer = Answer {
        content: line.content,
        finish: finish_of(line.finish),
        usage: line.usage.of_one_call(),
        charge: line.charge.of_one_call(),
        model: line.answered_by,
    };
    if answer.content.len() > proto::convert::ANSWER_BYTES {
        return Err("its content is longer than any answer may be".to_owned());
    }
    if !answer.is_whole() {
        return Err("its answer is empty, cut off or withheld: such answers are not kept".to_owned());
    }
    let entry = CacheEntry {
        answer: Arc::new(answer),
        provider: line.provider,
        model: line.model,
        created_at_ms: line.created_at_ms,
        replaces_before_ms: None,
    };
    Ok((line.key, entry, line.run_id))
}
