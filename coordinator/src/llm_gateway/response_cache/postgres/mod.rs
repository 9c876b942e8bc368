//! Store of answers in PostgreSQL.
//!
//! *Owns* two sessions: one writes, in transactions; one reads. One coordinator uses the store at a time; each of its write
//! transactions begins with the check that it still may.
//! *Invariant*: a write whose answer was lost can be repeated, and counts once (`untold`).

mod calls;
mod changes;
mod failures;
mod rows;
mod sessions;
mod untold;
mod verdicts;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::{AnswerKey, DocumentHash, RunId};
use domain::scanner::ScannerVersions;
use tokio::runtime::Handle;
use tokio_postgres::{Client, Error, Statement};

use super::store::at;
use super::{
    Answers, CacheError, CachedResponse, Counted, FailureCounts, JudgedRun, LlmUsage, OrphanedCall,
    StoreWrite, Verdicts,
};
use crate::database::postgres::{Engine, EngineResult, Failure};
use crate::llm_gateway::PermitKey;
use sessions::{Connector, PreparedSession, Statements};
use writer::Writer;

/// The store in a PostgreSQL server. Its methods block, and must not be called by an asynchronous task.
#[derive(Debug)]
pub(crate) struct PostgresAnswers {
    place: String,
    runtime: Handle,
    writer: Mutex<Writer>,
    reader: Mutex<Connector<ReadStatements>>,
}

/// Statements of reads.
#[derive(Debug)]
struct ReadStatements {
    look_up: Statement,
}

impl Statements for ReadStatements {
    async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self { look_up: rows::prepare_look_up(client).await? })
    }
}

impl PostgresAnswers {
    /// Opens the store, and migrates its tables to the newest layout. Its sessions are driven by the runtime of the caller.
    ///
    /// # Errors
    /// `Unusable` when the server may forget what it acknowledges, its tables are of a newer version or it refuses this user;
    /// `Unavailable` when it cannot be reached for some seconds.
    pub(crate) async fn open(engine: Arc<Engine>) -> Result<Self, CacheError> {
        let place = engine.place();
        let opened: EngineResult<_> = async {
            let writer = Writer::open(Arc::clone(&engine)).await?;
            Ok((writer, Connector::open(engine).await?))
        }
        .await;
        let (writer, reader) = opened.map_err(|trouble| at(&place, trouble))?;
        Ok(Self { place, runtime: Handle::current(), writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic leaves no transaction open: its session is dropped.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, work: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, CacheError> {
        let mut writer = self.writer();
        self.runtime.block_on(writer.transact(work)).map_err(|failure| self.failed(failure))
    }

    fn read<T>(&self, work: &impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, CacheError> {
        self.read_prepared(async |open| work(&open.session.client).await)
    }

    fn read_prepared<T>(
        &self,
        work: impl AsyncFn(&PreparedSession<ReadStatements>) -> Result<T, Error>,
    ) -> Result<T, CacheError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(reader.read(work)).map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> CacheError {
        match failure {
            Failure::NotApplied(trouble) | Failure::Refused(trouble) => at(&self.place, trouble),
            Failure::Unknown(reason) => {
                let reason =
                    format!("the answer to a commit was lost, and it may have taken effect: {reason}");
                CacheError::Unavailable { place: self.place.clone(), reason }
            }
        }
    }
}

impl Answers for PostgresAnswers {
    fn spent_of(&self, runs: &[RunId]) -> Result<Vec<(RunId, LlmUsage)>, CacheError> {
        let spent = self.read(&async |client: &Client| rows::spent_of(client, runs).await)?;
        let of = |run_id: &RunId| spent.get(run_id.as_str()).copied().unwrap_or_default();
        Ok(runs.iter().map(|run_id| (run_id.clone(), of(run_id))).collect())
    }

    fn failures_of(&self, run_id: &RunId) -> Result<FailureCounts, CacheError> {
        self.read(&async |client: &Client| failures::of(client, run_id).await)
    }

    fn look_up(&self, keys: &[AnswerKey]) -> Result<Vec<(AnswerKey, Option<CachedResponse>)>, CacheError> {
        let found = self.read_prepared(async |open| {
            rows::look_up(&open.session.client, &open.statements.look_up, keys).await
        })?;
        Ok(keys.iter().map(|key| (*key, found.get(key).cloned())).collect())
    }

    fn apply(&self, batch: &[&StoreWrite]) -> Result<Vec<Counted>, CacheError> {
        let mut writer = self.writer();
        self.runtime.block_on(writer.apply(batch)).map_err(|failure| self.failed(failure))
    }

    /// Those of all other processes, whatever their runs: one coordinator at a time permits calls.
    fn take_up_calls(&self, _runs: &[RunId]) -> Result<Vec<OrphanedCall>, CacheError> {
        let mut writer = self.writer();
        self.runtime.block_on(writer.take_up()).map_err(|failure| self.failed(failure))
    }

    fn permit_key(&self) -> Result<PermitKey, CacheError> {
        let key: Vec<u8> = self.read(&async |client: &Client| {
            client.query_one("SELECT key FROM permit_key", &[]).await?.try_get(0)
        })?;
        let key = <[u8; 32]>::try_from(key).map_err(|_| CacheError::Unusable {
            place: self.place.clone(),
            reason: "its key of permits has not 32 bytes: put back a copy of the table permit_key".to_owned(),
        })?;
        Ok(PermitKey::from_bytes(key))
    }
}

impl Verdicts for PostgresAnswers {
    fn judge_of(&self, run: &JudgedRun) -> Result<Option<ServerIdentity>, CacheError> {
        self.read(&async |client: &Client| verdicts::judge_of(client, run).await)
    }

    fn settle_judge(&self, run: &JudgedRun, server: &ServerIdentity) -> Result<ServerIdentity, CacheError> {
        self.write(async |client| verdicts::settle_judge(client, run, server).await)
    }

    fn verdicts(
        &self,
        server: &ServerIdentity,
        texts: &[DocumentHash],
    ) -> Result<Vec<(DocumentHash, ServerVerdict)>, CacheError> {
        self.read(&async |client: &Client| verdicts::of(client, server, texts).await)
    }

    fn put_verdicts(
        &self,
        server: &ServerIdentity,
        verdicts: &[(DocumentHash, ServerVerdict)],
    ) -> Result<(), CacheError> {
        self.write(async |client| verdicts::put(client, server, verdicts).await)
    }

    fn scanners_of(&self, run: &JudgedRun) -> Result<Option<ScannerVersions>, CacheError> {
        self.read(&async |client: &Client| verdicts::scanners_of(client, run).await)
    }

    fn settle_scanners(
        &self,
        run: &JudgedRun,
        versions: &ScannerVersions,
    ) -> Result<ScannerVersions, CacheError> {
        self.write(async |client| verdicts::settle_scanners(client, run, versions).await)
    }
}
