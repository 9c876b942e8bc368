//! A program of this machine, as it is asked.
//!
//! *Invariant*: at most [`ProgramConfig::processes`] processes of a program are alive at the same time, over all shards of
//! this worker; idle ones are ended when no shard uses the program.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::asked::Asked;
use crate::batch;
use crate::config::{ProgramConfig, ProgramError, Protocol};
use crate::failure::{Failure, Stop};
use crate::folder;
use crate::lines::Lines;
use crate::message::{Answer, Question};
use crate::starter::Starter;

/// A program of this machine.
#[derive(Debug)]
pub struct Program {
    starter: Starter,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Lines>>,
    users: AtomicUsize,
}

impl Program {
    pub(crate) fn open(
        name: &str,
        config: &ProgramConfig,
        launcher: Option<PathBuf>,
    ) -> Result<Self, ProgramError> {
        let starter = Starter::open(name, config, launcher)?;
        let permits = Arc::new(Semaphore::new(config.processes as usize));
        Ok(Self { starter, permits, idle: Mutex::default(), users: AtomicUsize::new(0) })
    }

    /// Asks the program its version, where one is pinned.
    pub(crate) fn check_version(&self) -> Result<(), ProgramError> {
        self.starter.check_version()
    }

    /// What it is.
    pub const fn config(&self) -> &ProgramConfig {
        &self.starter.config
    }

    /// Holds its idle processes while a shard uses it.
    pub fn work(self: &Arc<Self>) -> Working {
        self.users.fetch_add(1, Ordering::SeqCst);
        Working { program: Arc::clone(self) }
    }

    /// Asks it about one record, when a process of its budget is free.
    pub async fn ask(self: &Arc<Self>, question: Question, stop: Stop) -> Asked {
        if let Some(refused) = self.refusal(&question) {
            return refused;
        }
        let Some(permit) = self.permit(&stop).await else { return Asked::STOPPED };
        let program = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let answer = program.ask_now(&question, &stop);
            let took = start.elapsed();
            drop(permit);
            Asked { answer, took }
        });
        // The runtime ends, or a bug of ours.
        asked.await.unwrap_or(Asked::STOPPED)
    }

    /// Why it is not asked this: it repairs other policies.
    pub(crate) fn refusal(&self, question: &Question) -> Option<Asked> {
        let policies = &self.starter.config.policies;
        if policies.is_empty() || policies.contains(&question.policy_id) {
            return None;
        }
        let why = format!("program {} repairs {} alone", self.starter.name, policies.join(", "));
        Some(Asked { answer: Err(Failure::Failed(why)), took: Duration::ZERO })
    }

    /// Waits until one more process may run; `None`: stopped.
    pub(crate) async fn permit(&self, stop: &Stop) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        (!stop()).then_some(permit)
    }

    /// What starts its processes.
    pub(crate) const fn starter(&self) -> &Starter {
        &self.starter
    }

    fn ask_now(&self, question: &Question, stop: &Stop) -> Result<Answer, Failure> {
        if self.starter.config.takes_many() {
            return batch::ask_all(&self.starter, std::slice::from_ref(question), stop)
                .pop()
                .map_or(Err(Failure::Stopped), |asked| asked.answer);
        }
        if self.starter.config.protocol == Protocol::Folder {
            return folder::ask(&self.starter, question, stop);
        }
        let idle = self.idle().pop();
        // One that ended, or said something unasked, is out of step.
        let mut lines = idle.filter(Lines::is_idle).map_or_else(|| Lines::start(&self.starter), Ok)?;
        let mut answer = lines.ask(&self.starter, question, stop);
        if answer.is_err() && lines.ended_between() {
            // It may have ended before it was asked: that says nothing about this record.
            drop(lines);
            lines = Lines::start(&self.starter)?;
            answer = lines.ask(&self.starter, question, stop);
        }
        if answer.is_ok() && self.users.load(Ordering::SeqCst) > 0 {
            self.idle().push(lines);
        }
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Lines>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a shard uses a program; the last one to go ends its idle processes.
#[derive(Debug)]
pub struct Working {
    program: Arc<Program>,
}

impl Drop for Working {
    fn drop(&mut self) {
        if self.program.users.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let idle = std::mem::take(&mut *self.program.idle());
        if !idle.is_empty() {
            // Ending waits.
            std::thread::spawn(move || drop(idle));
        }
    }
}
