//! Verdicts of API servers, and which server judges a run: tables of the cache's file.

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::{DocumentHash, RunId};
use domain::scanner::ScannerVersions;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::rows;
use super::store::{CacheError, ResponseCache, failed_below};

/// A run by its id and when it was created: an id is free again once its run was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JudgedRun(String);

impl JudgedRun {
    pub(crate) fn new(run_id: &RunId, created_at_ms: u64) -> Self {
        Self(format!("{run_id} {created_at_ms}"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the coordinator needs of a store of verdicts. All calls block.
pub(crate) trait Verdicts: std::fmt::Debug + Send + Sync {
    /// The server that judges a run; `None`: none is recorded.
    fn judge_of(&self, run: &JudgedRun) -> Result<Option<ServerIdentity>, CacheError>;

    /// Records the server that judges a run, unless one is; returns the one that is recorded, durably.
    fn settle_judge(&self, run: &JudgedRun, server: &ServerIdentity) -> Result<ServerIdentity, CacheError>;

    /// The verdicts of a server that are known among those about these texts. A damaged one counts as missing.
    fn verdicts(
        &self,
        server: &ServerIdentity,
        texts: &[DocumentHash],
    ) -> Result<Vec<(DocumentHash, ServerVerdict)>, CacheError>;

    /// Stores verdicts of a server in one transaction. One that is stored stays as it is.
    fn put_verdicts(
        &self,
        server: &ServerIdentity,
        verdicts: &[(DocumentHash, ServerVerdict)],
    ) -> Result<(), CacheError>;

    /// The scanners that judge a run; `None`: none are recorded.
    fn scanners_of(&self, run: &JudgedRun) -> Result<Option<ScannerVersions>, CacheError>;

    /// Records the scanners that judge a run, unless some are; returns those that are recorded, durably.
    fn settle_scanners(
        &self,
        run: &JudgedRun,
        versions: &ScannerVersions,
    ) -> Result<ScannerVersions, CacheError>;
}

impl Verdicts for ResponseCache {
    fn judge_of(&self, run: &JudgedRun) -> Result<Option<ServerIdentity>, CacheError> {
        let reader = self.read();
        judge_of(&reader, run).map_err(|error| self.failed(error))
    }

    fn settle_judge(&self, run: &JudgedRun, server: &ServerIdentity) -> Result<ServerIdentity, CacheError> {
        let mut writer = self.write();
        let mut settle = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(recorded) = judge_of(&transaction, run)? {
                return Ok(recorded);
            }
            let number = number_of(&transaction, server)?;
            transaction
                .execute("INSERT OR REPLACE INTO judged_runs VALUES (?1, ?2)", params![run.0, number])?;
            transaction.commit()?;
            Ok(server.clone())
        };
        settle().map_err(|error| self.failed(error))
    }

    fn verdicts(
        &self,
        server: &ServerIdentity,
        texts: &[DocumentHash],
    ) -> Result<Vec<(DocumentHash, ServerVerdict)>, CacheError> {
        let found = rows::verdicts(&self.read(), server, texts);
        let mut found = found.map_err(|error| self.failed(error))?;
        if let Some(below) = &self.below {
            let added = below.add_verdicts(server, texts, &mut found);
            added.map_err(|error| failed_below(below, &error))?;
        }
        Ok(found)
    }

    fn put_verdicts(
        &self,
        server: &ServerIdentity,
        verdicts: &[(DocumentHash, ServerVerdict)],
    ) -> Result<(), CacheError> {
        let mut writer = self.write();
        let mut put = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let number = number_of(&transaction, server)?;
            for (text, verdict) in verdicts {
                // Does not fail: a verdict has only texts and numbers.
                let json = serde_json::to_string(verdict).unwrap_or_default();
                transaction.execute(
                    "INSERT OR IGNORE INTO verdicts VALUES (?1, ?2, ?3)",
                    params![number, text.as_bytes(), json],
                )?;
            }
            transaction.commit()
        };
        put().map_err(|error| self.failed(error))
    }

    fn scanners_of(&self, run: &JudgedRun) -> Result<Option<ScannerVersions>, CacheError> {
        let reader = self.read();
        scanners_of(&reader, run).map_err(|error| self.failed(error))
    }

    fn settle_scanners(
        &self,
        run: &JudgedRun,
        versions: &ScannerVersions,
    ) -> Result<ScannerVersions, CacheError> {
        let mut writer = self.write();
        let mut settle = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(recorded) = scanners_of(&transaction, run)? {
                return Ok(recorded);
            }
            // Does not fail: they are a map of texts.
            let json = serde_json::to_string(versions).unwrap_or_default();
            transaction
                .execute("INSERT OR REPLACE INTO scanned_runs VALUES (?1, ?2)", params![run.0, json])?;
            transaction.commit()?;
            Ok(versions.clone())
        };
        settle().map_err(|error| self.failed(error))
    }
}

fn scanners_of(connection: &Connection, run: &JudgedRun) -> rusqlite::Result<Option<ScannerVersions>> {
    let row = connection.query_row("SELECT scanners FROM scanned_runs WHERE run = ?1", [&run.0], |row| {
        row.get::<_, String>(0)
    });
    // What is not valid was not written by this program: it counts as missing, and is replaced.
    Ok(row.optional()?.and_then(|json| serde_json::from_str(&json).ok()))
}

fn judge_of(connection: &Connection, run: &JudgedRun) -> rusqlite::Result<Option<ServerIdentity>> {
    let recorded = connection
        .query_row(
            "SELECT version, flags FROM judged_runs JOIN servers USING (server) WHERE run = ?1",
            [&run.0],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
        )
        .optional()?;
    // What is not valid was not written by this program: it counts as missing, and is replaced.
    Ok(recorded.and_then(|(version, flags)| ServerIdentity::new(version, flags).ok()))
}

/// The number of a server, which gets one where it has none.
fn number_of(connection: &Connection, server: &ServerIdentity) -> rusqlite::Result<i64> {
    let row = [server.version(), server.flags()];
    connection.execute("INSERT OR IGNORE INTO servers (version, flags) VALUES (?1, ?2)", row)?;
    connection
        .query_row("SELECT server FROM servers WHERE version = ?1 AND flags = ?2", row, |row| row.get(0))
}
