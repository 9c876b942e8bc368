//! The corpora of runs: one file of this machine each, and where results go to a bucket, an object that another machine can
//! take the run up with.

use std::path::{Path, PathBuf};

use domain::ids::{CorpusHash, RunId};
use proto::status::{ApiError, ErrorReason};
use results::corpus_copy::check_corpus;
use results::layout::{CORPUS_FILE, corpus_object};
use results::store::{Store, StoreError};

use super::Coordinator;
use crate::refusals::{storage, storage_failed, unknown_run};

impl Coordinator {
    /// Local path of a run's corpus, whether it is there or not.
    pub(crate) fn corpus_path(&self, run_id: &RunId) -> Result<PathBuf, ApiError> {
        let local = self.folder(run_id)?.local_path(CORPUS_FILE);
        Ok(local.unwrap_or_else(|| self.scratch.join(format!("{run_id}.{CORPUS_FILE}"))))
    }

    /// Local path of the corpus of an active run. Where another machine took the run in, it is fetched from the bucket.
    pub(super) async fn local_corpus(&self, run_id: &RunId) -> Result<PathBuf, ApiError> {
        let (folder, path) = (self.folder(run_id)?, self.corpus_path(run_id)?);
        if folder.is_local() || path.is_file() {
            return Ok(path);
        }
        let hash = self.with_run(run_id, |run| run.plan.corpus_hash).ok_or_else(|| unknown_run(run_id))?;
        fetch(&folder, hash, &path).await?;
        tracing::info!(run = %run_id, "fetched the corpus of a run that was submitted elsewhere");
        Ok(path)
    }

    /// Makes the corpus in `file` durable in the bucket, if the results go to one.
    pub(super) async fn store_corpus(
        &self,
        run_id: &RunId,
        hash: CorpusHash,
        file: &Path,
    ) -> Result<(), ApiError> {
        let folder = self.folder(run_id)?;
        if folder.is_local() {
            return Ok(());
        }
        folder.send_file(&corpus_object(hash), file).await.map(drop).map_err(|error| storage(&error))
    }
}

/// Fetches a corpus to `path`, after comparing it with its hash.
async fn fetch(folder: &Store, hash: CorpusHash, path: &Path) -> Result<(), ApiError> {
    let key = corpus_object(hash);
    let around = path.parent().unwrap_or(Path::new("."));
    let fetched = async {
        let bytes = folder.size(&key).await?;
        folder.download(&key, bytes, around).await
    };
    let file = fetched.await.map_err(|error: StoreError| storage(&error))?;
    let place = path.to_owned();
    let checking = tokio::task::spawn_blocking(move || {
        let found = check_corpus(file.path()).map_err(|error| storage_failed(&error))?;
        if found.corpus_hash != hash {
            let message = format!("the corpus in {key} is not the one that was submitted");
            return Err(ApiError::new(ErrorReason::Storage, message));
        }
        file.persist(&place).map(drop).map_err(|error| storage_failed(&error.error))
    });
    checking.await.map_err(|error| storage_failed(&error))?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::config::RunConfig;
    use domain::ids::WorkerName;
    use object_store::memory::InMemory;
    use proto::convert::frames;
    use results::corpus_copy::{CorpusReader, CorpusWriter};

    use super::*;
    use crate::ledger::MemoryLedger;
    use crate::run::{OwnerDeadline, Parts, Recovery};

    /// A machine of its own, with the ledger and the bucket of all.
    async fn machine(ledger: &Arc<MemoryLedger>, store: &Store, scratch: &Path) -> Arc<Coordinator> {
        Coordinator::open(Parts {
            ledger: Arc::clone(ledger) as Arc<_>,
            store: store.clone(),
            scratch: scratch.to_owned(),
            recovery: Recovery::Forfeit,
            owner: OwnerDeadline::unlimited(),
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn another_machine_takes_a_run_up() {
        let (ledger, scratch) = (Arc::new(MemoryLedger::default()), tempfile::tempdir().unwrap());
        let store = Store::over(Arc::new(InMemory::new()), "memory");
        let places = ["made", "one", "two", "three"].map(|name| scratch.path().join(name));
        for place in &places {
            std::fs::create_dir(place).unwrap();
        }
        let [made, one, two, three] = &places;
        let mut corpus = CorpusWriter::create(&made.join("corpus")).unwrap();
        for position in 0..10 {
            let (record, document) = domain::testing::record(position, "latest-tag", "kind: Pod");
            corpus.push(record, &document).unwrap();
        }
        let hash = corpus.finish().unwrap().corpus_hash;
        let slice = CorpusReader::open(&made.join("corpus")).unwrap().slice(0, 10).unwrap();

        let first = machine(&ledger, &store, one).await;
        let run_id = RunId::new("r").unwrap();
        let submission = first.submit(run_id.clone(), RunConfig::default(), String::new()).await;
        let mut submission = submission.unwrap();
        for piece in frames(slice) {
            submission.push(piece).await.unwrap();
        }
        submission.finish(10).await.unwrap();
        drop(first);

        let second = machine(&ledger, &store, two).await;
        let worker = Arc::new(WorkerName::new("w").unwrap());
        let granted = second.lease(&worker).await.unwrap();
        assert_eq!(granted.corpus.records(), 10);
        assert!(two.join("r.corpus.parquet").is_file());
        drop((granted, second));

        let folder = store.folder("r").unwrap();
        folder.put(&corpus_object(hash), "rubbish".into()).await.unwrap();
        let third = machine(&ledger, &store, three).await;
        let trouble = third.status(&run_id).await.unwrap().trouble.unwrap();
        assert!(trouble.contains("its corpus cannot be read"), "{trouble}");
        assert!(!three.join("r.corpus.parquet").exists());
    }
}
