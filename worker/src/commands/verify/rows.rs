//! Verdicts on stdout, as text or as JSON.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use clap::ValueEnum;
use cli_support::escape;
use serde_json::Value;

use crate::commands::propose;

/// Output format of verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Lines for people
    Text,
    /// One JSON array
    Json,
    /// A JSON object a line
    Jsonl,
}

/// Writes verdicts.
pub(super) enum Rows {
    Text(BufWriter<StdoutLock<'static>>),
    Json(propose::Rows),
}

impl Rows {
    pub(super) fn begin(form: Form) -> Self {
        match form {
            Form::Text => Self::Text(BufWriter::with_capacity(1 << 16, io::stdout().lock())),
            Form::Json => Self::Json(propose::Rows::begin(propose::Form::Json)),
            Form::Jsonl => Self::Json(propose::Rows::begin(propose::Form::Jsonl)),
        }
    }

    /// Writes a verdict: `text` for people, without a line break at its end, or `row`.
    pub(super) fn push(&mut self, text: &str, row: impl FnOnce() -> Value) -> io::Result<()> {
        match self {
            Self::Text(out) => writeln!(out, "{}", escape::lines(text)),
            Self::Json(rows) => rows.push(&row()),
        }
    }

    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Text(mut out) => out.flush(),
            Self::Json(rows) => rows.end(),
        }
    }
}
