//! The columns of what an API server answered. Parts of earlier releases do not have them.

use arrow_array::{Array, BooleanArray, ListArray, RecordBatch, StringArray};
use domain::api_server::SchemaDepth;
use domain::api_server::{ServerAnswer, ServerAnswers, ServerCause, ServerClass};

use super::cells::{DecodeError, illegal, later, text, texts, word};
use crate::schema as col;

/// The columns of one batch.
pub(super) struct ServerColumns<'a> {
    depth: Option<&'a StringArray>,
    version: Option<&'a StringArray>,
    class: Option<&'a StringArray>,
    causes: Option<&'a StringArray>,
    warnings: Option<&'a ListArray>,
    before_class: Option<&'a StringArray>,
    before_causes: Option<&'a StringArray>,
    disagrees: Option<&'a BooleanArray>,
}

impl<'a> ServerColumns<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, DecodeError> {
        Ok(Self {
            depth: later(batch, col::SCHEMA_DEPTH)?,
            version: later(batch, col::SERVER_VERSION)?,
            class: later(batch, col::SERVER_CLASS)?,
            causes: later(batch, col::SERVER_CAUSES)?,
            warnings: later(batch, col::SERVER_WARNINGS)?,
            before_class: later(batch, col::SERVER_BEFORE_CLASS)?,
            before_causes: later(batch, col::SERVER_BEFORE_CAUSES)?,
            disagrees: later(batch, col::SERVER_DISAGREES)?,
        })
    }

    pub(super) fn depth(&self, row: usize) -> Result<Option<SchemaDepth>, DecodeError> {
        let word_of = |depth| word(col::SCHEMA_DEPTH, depth, SchemaDepth::parse);
        self.depth.and_then(|column| text(column, row)).map(word_of).transpose()
    }

    /// `None`: no server was asked.
    pub(super) fn answers(&self, row: usize) -> Result<Option<ServerAnswers>, DecodeError> {
        let Some(version) = self.version.and_then(|column| text(column, row)) else { return Ok(None) };
        let after = [(self.class, col::SERVER_CLASS), (self.causes, col::SERVER_CAUSES)];
        let before =
            [(self.before_class, col::SERVER_BEFORE_CLASS), (self.before_causes, col::SERVER_BEFORE_CAUSES)];
        Ok(Some(ServerAnswers {
            version: version.to_owned(),
            before: answer(before, row)?,
            after: answer(after, row)?,
            warnings: self.warnings.map(|column| texts(column, row)).unwrap_or_default(),
            disagrees: self.disagrees.filter(|column| column.is_valid(row)).map(|column| column.value(row)),
        }))
    }
}

fn answer(
    [class, causes]: [(Option<&StringArray>, &'static str); 2],
    row: usize,
) -> Result<Option<ServerAnswer>, DecodeError> {
    let Some(found) = class.0.and_then(|column| text(column, row)) else { return Ok(None) };
    let list = causes.0.and_then(|column| text(column, row)).unwrap_or("[]");
    let read: Vec<[String; 3]> = serde_json::from_str(list).map_err(|_| illegal(causes.1, list))?;
    let cause = |[field, reason, message]: [String; 3]| ServerCause { field, reason, message };
    Ok(Some(ServerAnswer {
        class: word(class.1, found, ServerClass::parse)?,
        causes: read.into_iter().map(cause).collect(),
    }))
}
