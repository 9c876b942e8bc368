//! Drives batches: performs their steps one after the other, and records what came of each before the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::answer::FailureKind;
use domain::budget::Price;
use llm::batch::{BatchClient, Counts, Mark};
use llm::error::{Failure, Phase as Wait};
use llm::refusals::{advice, kind};

use super::collect::{Collected, collect};
use super::error::BatchError;
use super::gather::questions_file;
use super::lifecycle::{self, Patience, Step};
use super::record::{BatchRecord, Phase, Target};
use crate::clock::unix_ms;
use crate::llm_gateway::response_cache::{OwnerLock, ResponseCache};

/// First time between two looks at a batch; it grows to that of the configuration.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Growth of the time between two looks.
const SLOWER: f64 = 1.5;

/// Failures in a row of an unknown kind that end the work.
const UNKNOWN_FAILURES: u32 = 5;

/// What a driver works with.
pub(crate) struct Driver {
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) client: BatchClient,
    pub(crate) lock: Arc<OwnerLock>,
    pub(crate) target: Target,
    pub(crate) patience: Patience,
    /// Longest time between two looks at a batch.
    pub(crate) look: Duration,
    /// How long the provider has for a batch, in its words.
    pub(crate) window: String,
    pub(crate) price: Price,
}

/// What happens to a batch, for messages.
#[derive(Debug, Clone)]
pub(crate) enum Event<'e> {
    /// The provider has it.
    Submitted(&'e BatchRecord),
    /// It was found again after a crash or a lost answer.
    FoundAgain(&'e BatchRecord),
    /// The provider is so far.
    Progress(&'e BatchRecord, Counts),
    /// Its answers were read.
    Collected(&'e BatchRecord, &'e Collected),
    /// The provider cannot be asked for now.
    Trouble(&'e BatchRecord, &'e Failure),
    /// Another process works on batches that are waited for.
    Elsewhere(usize),
}

/// What is known of a batch beside its record: nothing that a crash may not lose.
#[derive(Debug, Default)]
struct Watch {
    /// When its next step is due; `None`: now.
    due: Option<Instant>,
    /// Time until the look after that.
    pause: Duration,
    failures: u32,
    counts: Counts,
}

/// What came of a step.
enum Done {
    /// The batch is in this phase now.
    Advanced(Phase),
    /// It is to be looked at later.
    Later,
    /// The step failed, and is tried again later.
    Failed(Failure),
}

impl Driver {
    /// Works on the batches with these marks until none is open, and on those of processes that are gone.
    pub(crate) async fn work(
        &self,
        marks: &BTreeSet<Mark>,
        say: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Collected, BatchError> {
        let mut watches: BTreeMap<Mark, Watch> = BTreeMap::new();
        let mut all = Collected::default();
        let mut elsewhere = 0;
        loop {
            let open: Vec<BatchRecord> =
                self.cache.batches()?.into_iter().filter(|batch| self.concerns(batch)).collect();
            watches.retain(|mark, _| open.iter().any(|batch| batch.mark == *mark));
            let mut others = 0;
            for mut batch in open.iter().cloned() {
                if self.lock.is_gone(&batch.owner) && self.cache.adopt_batch(&batch, self.lock.owner())? {
                    batch.owner = self.lock.owner().clone();
                }
                if batch.owner == *self.lock.owner() {
                    let watch = watches.entry(batch.mark.clone()).or_default();
                    all += self.drive(batch, watch, say).await?;
                } else if marks.contains(&batch.mark) {
                    others += 1;
                }
            }
            if others != elsewhere {
                elsewhere = others;
                if others > 0 {
                    say(Event::Elsewhere(others));
                }
            }
            if !open.iter().any(|batch| marks.contains(&batch.mark)) {
                return Ok(all);
            }
            tokio::time::sleep(pause(&watches)).await;
        }
    }

    /// Whether a batch is one of this provider, address and model that something is left to do for.
    fn concerns(&self, batch: &BatchRecord) -> bool {
        batch.phase.is_open() && batch.target == self.target
    }

    /// Performs the steps of a batch that are due.
    async fn drive(
        &self,
        mut batch: BatchRecord,
        watch: &mut Watch,
        say: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Collected, BatchError> {
        let mut all = Collected::default();
        while watch.due.is_none_or(|due| due <= Instant::now()) {
            let has_file = questions_file(&self.lock, &batch.mark).is_file();
            let step = lifecycle::next(&batch.phase, false, has_file, &self.patience, unix_ms());
            if step == Step::Nothing {
                break;
            }
            match self.perform(&mut batch, step, watch, &mut all, say).await? {
                Done::Advanced(phase) => {
                    watch.failures = 0;
                    if !self.advance(&mut batch, phase)? {
                        break;
                    }
                }
                Done::Later => {
                    watch.failures = 0;
                    watch.later(self.look);
                }
                Done::Failed(failure) => {
                    judge(&failure, watch)?;
                    say(Event::Trouble(&batch, &failure));
                    watch.later(self.look);
                }
            }
        }
        Ok(all)
    }

    /// Records a phase; `false`: another process works on the batch.
    fn advance(&self, batch: &mut BatchRecord, phase: Phase) -> Result<bool, BatchError> {
        if phase == batch.phase {
            return Ok(true);
        }
        let advanced = self.cache.advance_batch(batch, &phase, unix_ms())?;
        batch.phase = phase;
        if matches!(batch.phase, Phase::Done { .. } | Phase::Dropped | Phase::Submitted { .. }) {
            // The provider has the file, or it is not needed any more. What stays behind takes room and nothing else.
            let _ = std::fs::remove_file(questions_file(&self.lock, &batch.mark));
        }
        Ok(advanced)
    }

    async fn perform(
        &self,
        batch: &mut BatchRecord,
        step: Step,
        watch: &mut Watch,
        all: &mut Collected,
        say: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Done, BatchError> {
        Ok(match step {
            Step::Nothing => Done::Later,
            Step::Drop => Done::Advanced(Phase::Dropped),
            Step::Upload => {
                match self.client.upload(&questions_file(&self.lock, &batch.mark), &batch.mark).await {
                    Ok(input) => Done::Advanced(lifecycle::uploaded(input)),
                    Err(failure) => Done::Failed(failure),
                }
            }
            Step::Create { input } => {
                // From here on it may exist.
                if !self.advance(batch, lifecycle::creating(input.clone(), unix_ms()))? {
                    return Ok(Done::Later);
                }
                match self.client.create(&input, &batch.mark, &self.window).await {
                    Ok(shown) => {
                        let phase = lifecycle::created(&batch.phase, &shown, unix_ms());
                        say(Event::Submitted(&BatchRecord { phase: phase.clone(), ..batch.clone() }));
                        Done::Advanced(phase)
                    }
                    Err(failure) => self.not_created(batch, failure)?,
                }
            }
            Step::Find => match self.client.find(&batch.mark).await {
                Ok(list) => self.found(batch, &list, say).await,
                Err(failure) => Done::Failed(failure),
            },
            Step::Look => self.look_at(batch, watch, say).await,
            Step::Cancel => match batch.phase.remote() {
                Some(remote) => match self.client.cancel(remote).await {
                    Ok(shown) => Done::Advanced(lifecycle::cancelled(&batch.phase, &shown)),
                    Err(failure) => Done::Failed(failure),
                },
                None => Done::Later,
            },
            Step::Collect => {
                let collected = self.collect(batch).await?;
                match collected {
                    Ok(collected) => self.collected(batch, collected, all, say)?,
                    Err(failure) => Done::Failed(failure),
                }
            }
        })
    }

    /// After a creation without an answer: whether the batch may exist all the same.
    fn not_created(&self, batch: &mut BatchRecord, failure: Failure) -> Result<Done, BatchError> {
        let phase = match &failure {
            Failure::Refused(refusal) => match refusal.status {
                // The file is gone: it is uploaded again, or the questions are free.
                Some(404) => Some(Phase::Ready),
                Some(status) if (400..500).contains(&status) && !matches!(status, 408 | 409) => {
                    Some(lifecycle::refused(&batch.phase))
                }
                _ => None,
            },
            Failure::Connect { .. } | Failure::Timeout(Wait::Connect) => {
                Some(lifecycle::refused(&batch.phase))
            }
            _ => None,
        };
        if let Some(phase) = phase {
            self.advance(batch, phase)?;
        }
        Ok(Done::Failed(failure))
    }

    async fn found(
        &self,
        batch: &BatchRecord,
        list: &[llm::batch::RemoteBatch],
        say: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Done {
        let (phase, surplus) = lifecycle::found(&batch.phase, list, &self.patience, unix_ms());
        for other in surplus.iter().filter(|other| !other.status.is_final()) {
            tracing::warn!(batch = %batch.mark, id = %other.id, "a batch was created twice: the later one is cancelled");
            if let Err(failure) = self.client.cancel(&other.id).await {
                return Done::Failed(failure);
            }
        }
        if phase == batch.phase {
            return Done::Later;
        }
        if phase.remote().is_some() {
            say(Event::FoundAgain(&BatchRecord { phase: phase.clone(), ..batch.clone() }));
        }
        Done::Advanced(phase)
    }

    async fn look_at(
        &self,
        batch: &BatchRecord,
        watch: &mut Watch,
        say: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Done {
        let Some(remote) = batch.phase.remote() else { return Done::Later };
        match self.client.look(remote).await {
            Ok(shown) => {
                if shown.counts != watch.counts {
                    watch.counts = shown.counts;
                    say(Event::Progress(batch, shown.counts));
                }
                let phase = lifecycle::looked(&batch.phase, &shown);
                match phase {
                    // How often it was looked at is worth no write to the disk until it has ended.
                    Phase::Submitted { looks: 0, .. } => Done::Later,
                    Phase::Submitted { .. } => {
                        watch.later(self.look);
                        Done::Advanced(phase)
                    }
                    _ => Done::Advanced(phase),
                }
            }
            Err(Failure::Refused(refusal)) if refusal.status == Some(404) => {
                Done::Advanced(lifecycle::gone(&batch.phase))
            }
            Err(failure) => Done::Failed(failure),
        }
    }

    /// Downloads and reads the files of a batch that has ended.
    async fn collect(&self, batch: &BatchRecord) -> Result<Result<Collected, Failure>, BatchError> {
        let Phase::Ended { files, .. } = &batch.phase else { return Ok(Ok(Collected::default())) };
        let mut all = Collected::default();
        for (number, file) in files.iter().enumerate() {
            let path = self.lock.file(&format!("{}.{number}.answers", batch.mark));
            if let Err(failure) = self.client.download(file, &path).await {
                return Ok(Err(failure));
            }
            let (cache, client) = (Arc::clone(&self.cache), self.client.clone());
            let (batch, price, from) = (batch.clone(), self.price, path.clone());
            let read = tokio::task::spawn_blocking(move || collect(&cache, &client, &batch, &price, &from));
            all += read.await??;
            // What stays behind takes room and nothing else.
            let _ = std::fs::remove_file(&path);
        }
        Ok(Ok(all))
    }

    /// Ends a batch whose answers were read; one that gave none at all is the user's to mend.
    fn collected(
        &self,
        batch: &mut BatchRecord,
        collected: Collected,
        all: &mut Collected,
        say: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Done, BatchError> {
        say(Event::Collected(batch, &collected));
        let ended = batch.clone();
        self.advance(batch, lifecycle::collected(&ended.phase))?;
        let Phase::Ended { remote, status, words, .. } = &ended.phase else { return Ok(Done::Later) };
        let Collected { answered, failed, again, unasked, surplus, .. } = collected;
        let worked = answered + failed + again + unasked + surplus > 0;
        if let (0, Some(failure)) = (collected.answered, &collected.shared) {
            let what = "the provider refuses every line of the batch";
            return Err(BatchError::Refused { what, failure: failure.clone(), remedy: advice(failure) });
        }
        if !worked && *status == llm::batch::RemoteStatus::Failed {
            let (id, words) = (remote.to_string(), words.clone());
            return Err(BatchError::NotWorkedOn { id, status: status.as_str(), words });
        }
        *all += collected;
        Ok(Done::Later)
    }
}

impl Watch {
    /// The next step comes later, and the one after it later still.
    fn later(&mut self, most: Duration) {
        self.pause = self.pause.mul_f64(SLOWER).clamp(FIRST_LOOK.min(most), most);
        self.due = Some(Instant::now() + self.pause);
    }
}

/// What to do about a failure of the endpoint of batches.
fn remedy(failure: &Failure) -> &'static str {
    if failure.is_no_such_endpoint() {
        return "where the endpoint has no batches, set proposer.delivery to live";
    }
    advice(failure)
}

/// Whether the work goes on after a failure.
fn judge(failure: &Failure, watch: &mut Watch) -> Result<(), BatchError> {
    watch.failures += 1;
    let ends = match kind(failure) {
        FailureKind::Account | FailureKind::Key => true,
        FailureKind::Unknown | FailureKind::Prompt | FailureKind::Form => watch.failures >= UNKNOWN_FAILURES,
        FailureKind::Passing => false,
    };
    if !ends {
        return Ok(());
    }
    let what = "the provider refuses the batch";
    Err(BatchError::Refused { what, failure: failure.clone(), remedy: remedy(failure) })
}

/// How long nothing is to be done.
fn pause(watches: &BTreeMap<Mark, Watch>) -> Duration {
    let next = watches.values().filter_map(|watch| watch.due).min();
    let left = next.map_or(FIRST_LOOK, |due| due.saturating_duration_since(Instant::now()));
    left.clamp(Duration::from_millis(50), FIRST_LOOK)
}
