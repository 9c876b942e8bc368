//! A file of answers below a cache: it is only read, and what was found in it is noted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::{AnswerKey, DocumentHash};
use rusqlite::{Connection, OptionalExtension as _};

use super::CachedResponse;
use super::rows::{self, CachedRow};

/// What a run used of the file below its cache.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(super) answers: BTreeMap<AnswerKey, CachedRow>,
    /// By version and flags of the server, and the text.
    pub(super) verdicts: BTreeMap<(String, String, DocumentHash), ServerVerdict>,
}

impl Used {
    /// How many answers and verdicts.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.answers.len(), self.verdicts.len())
    }
}

/// The file below, and what was found in it.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) place: String,
    reader: Mutex<Connection>,
    used: Mutex<Used>,
}

impl Below {
    pub(super) fn of(place: String, reader: Connection) -> Self {
        Self { place, reader: Mutex::new(reader), used: Mutex::default() }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was used so far; it is counted anew from now on.
    pub(super) fn take_used(&self) -> Used {
        std::mem::take(&mut *self.used())
    }

    /// Looks for the answers that are missing in `found`. A damaged one counts as missing.
    pub(super) fn add_answers(
        &self,
        found: &mut [(AnswerKey, Option<CachedResponse>)],
    ) -> rusqlite::Result<()> {
        let reader = self.reader();
        let query = format!("SELECT {} FROM answers WHERE key = ?1", rows::COLUMNS);
        let mut statement = reader.prepare_cached(&query)?;
        for (key, answer) in found.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let Some(row) = statement.query_row([key.as_bytes()], rows::read).optional()?.flatten() {
                *answer = Some(row.stored.clone());
                self.used().answers.insert(*key, row);
            }
        }
        Ok(())
    }

    /// Looks for the verdicts about `texts` that are missing in `found`.
    pub(super) fn add_verdicts(
        &self,
        server: &ServerIdentity,
        texts: &[DocumentHash],
        found: &mut Vec<(DocumentHash, ServerVerdict)>,
    ) -> rusqlite::Result<()> {
        let is_missing = |text: &&DocumentHash| !found.iter().any(|(known, _)| known == *text);
        let missing: Vec<DocumentHash> = texts.iter().filter(is_missing).copied().collect();
        for (text, verdict) in rows::verdicts(&self.reader(), server, &missing)? {
            let key = (server.version().to_owned(), server.flags().to_owned(), text);
            self.used().verdicts.insert(key, verdict.clone());
            found.push((text, verdict));
        }
        Ok(())
    }
}
