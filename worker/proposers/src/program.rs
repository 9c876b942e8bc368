//! A program of this machine: how it is started, asked, and what its failures say.
//!
//! *Invariant*: at most [`ProgramConfig::processes`] processes of a program are alive at the same time, over all shards of
//! this worker; idle ones are ended when no shard uses the program.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::config::{ProgramConfig, ProgramError, Protocol};
use crate::folder;
use crate::launch::Limits;
use crate::lines::Lines;
use crate::message::{Answer, Question};
use crate::running::{Event, Output, Running, Start};
use crate::scratch::Scratch;

/// Whether to stop: asked every few milliseconds while a program works.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Environment variables that every program is given.
const PASSED: [&str; 3] = ["PATH", "LANG", "TZ"];
/// A value of a variable that is shorter is no secret that could be found in a text.
const SECRET_BYTES: usize = 8;

/// Why a program gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// We stopped waiting.
    Stopped,
    /// It failed: a message without secrets of ours.
    Failed(String),
}

/// An answer of a program, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The answer.
    pub answer: Result<Answer, Failure>,
    /// How long the program worked, its start included.
    pub took: Duration,
}

/// A program of this machine.
#[derive(Debug)]
pub struct Program {
    pub(crate) name: String,
    /// What it is.
    pub config: ProgramConfig,
    pub(crate) files: Vec<PathBuf>,
    launcher: PathBuf,
    environment: Vec<(String, OsString)>,
    /// Values of the variables that it alone is given.
    secrets: Vec<String>,
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
        let invalid = |key, reason: String| ProgramError::Invalid { name: name.to_owned(), key, reason };
        let mut config = config.clone();
        if let Some(program) = config.command.first_mut() {
            *program = found(program).map_err(|reason| invalid("command", reason))?;
        }
        let absolute = |file: &PathBuf| {
            let path = std::path::absolute(file).ok().filter(|path| path.exists());
            path.ok_or_else(|| invalid("files", format!("{} is not there", file.display())))
        };
        let files = config.files.iter().map(absolute).collect::<Result<_, _>>()?;
        let launcher = match launcher {
            Some(launcher) => launcher,
            None => std::env::current_exe().map_err(|error| invalid("command", error.to_string()))?,
        };
        let value = |name: &str| Some((name.to_owned(), std::env::var_os(name)?));
        let mut own = Vec::new();
        for variable in &config.environment {
            let unset = || invalid("environment", format!("environment variable {variable} is not set"));
            own.push(value(variable).ok_or_else(unset)?);
        }
        let secrets = own.iter().filter_map(|(_, value)| value.to_str().map(str::to_owned));
        let secrets = secrets.filter(|value| value.len() >= SECRET_BYTES).collect();
        let environment = PASSED.into_iter().filter_map(value).chain(own).collect();
        Ok(Self {
            name: name.to_owned(),
            files,
            launcher,
            environment,
            secrets,
            permits: Arc::new(Semaphore::new(config.processes as usize)),
            idle: Mutex::default(),
            users: AtomicUsize::new(0),
            config,
        })
    }

    /// Asks the program its version, where one is pinned.
    pub(crate) fn check_version(&self) -> Result<(), ProgramError> {
        let wanted = &self.config.version;
        if self.config.version_args.is_empty() {
            return Ok(());
        }
        let invalid = |reason| ProgramError::Invalid { name: self.name.clone(), key: "version", reason };
        let command = self.config.command.iter().take(1).chain(&self.config.version_args).cloned().collect();
        let stop: Stop = Arc::new(|| false);
        let said = self.scratch().and_then(|scratch| {
            let mut running = self.start(command, Output::Whole(1 << 20), scratch)?;
            running.close_input();
            let until = Instant::now() + self.time_limit();
            loop {
                match running.next(until, &stop)? {
                    Some(Event::Output(bytes)) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                    // Its end and its output come by different ways.
                    Some(Event::Ended(_)) => {}
                    Some(Event::OutputEnded | Event::TooLong(_)) | None => {
                        return Err(self.failed("does not say its version", &running));
                    }
                }
            }
        });
        match said {
            Ok(said) if said.contains(wanted.as_str()) => Ok(()),
            Ok(said) => {
                let said: String = said.trim().chars().filter(|c| !c.is_control()).take(200).collect();
                Err(invalid(format!(
                    "must be {wanted}, and the program says {said:?}: install that version, or change both"
                )))
            }
            Err(Failure::Failed(why)) => Err(invalid(why)),
            Err(Failure::Stopped) => Err(invalid("was not asked".to_owned())),
        }
    }

    /// Holds its idle processes while a shard uses it.
    pub fn work(self: &Arc<Self>) -> Working {
        self.users.fetch_add(1, Ordering::SeqCst);
        Working { program: Arc::clone(self) }
    }

    /// Asks it, when a process of its budget is free.
    pub async fn ask(self: &Arc<Self>, question: Question, stop: Stop) -> Asked {
        let policies = &self.config.policies;
        if !policies.is_empty() && !policies.contains(&question.policy_id) {
            let why = format!("program {} repairs {} alone", self.name, policies.join(", "));
            return Asked { answer: Err(Failure::Failed(why)), took: Duration::ZERO };
        }
        let stopped = Asked { answer: Err(Failure::Stopped), took: Duration::ZERO };
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return stopped };
        if stop() {
            return stopped;
        }
        let program = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let answer = program.ask_now(&question, &stop);
            let took = start.elapsed();
            drop(permit);
            Asked { answer, took }
        });
        // The runtime ends, or a bug of ours.
        asked.await.unwrap_or(stopped)
    }

    fn ask_now(&self, question: &Question, stop: &Stop) -> Result<Answer, Failure> {
        if self.config.protocol == Protocol::Folder {
            return folder::ask(self, question, stop);
        }
        let idle = self.idle().pop();
        // One that ended, or said something unasked, is out of step.
        let mut lines = idle.filter(Lines::is_idle).map_or_else(|| Lines::start(self), Ok)?;
        let mut answer = lines.ask(self, question, stop);
        if answer.is_err() && lines.ended_between() {
            // It may have ended before it was asked: that says nothing about this record.
            drop(lines);
            lines = Lines::start(self)?;
            answer = lines.ask(self, question, stop);
        }
        if answer.is_ok() && self.users.load(Ordering::SeqCst) > 0 {
            self.idle().push(lines);
        }
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Lines>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder for a process of the program, with its files.
    pub(crate) fn scratch(&self) -> Result<Scratch, Failure> {
        let scratch = Scratch::make().map_err(|error| self.not_started(&error))?;
        for file in &self.files {
            scratch.copy(file).map_err(|error| {
                Failure::Failed(format!("program {}: cannot copy {}: {error}", self.name, file.display()))
            })?;
        }
        Ok(scratch)
    }

    pub(crate) fn start(
        &self,
        command: Vec<String>,
        output: Output,
        scratch: Scratch,
    ) -> Result<Running, Failure> {
        let mib = |mib: u32| u64::from(mib) << 20;
        let start = Start {
            launcher: self.launcher.clone(),
            command: command.into_iter().map(OsString::from).collect(),
            environment: self.environment.clone(),
            limits: Limits {
                memory_bytes: mib(self.config.memory_mib),
                children: self.config.children,
                open_files: self.config.open_files.into(),
                file_bytes: mib(self.config.file_mib),
            },
            output,
        };
        Running::start(&start, scratch).map_err(|error| self.not_started(&error))
    }

    pub(crate) fn not_started(&self, error: &io::Error) -> Failure {
        Failure::Failed(format!("program {} cannot be started: {error}", self.name))
    }

    pub(crate) fn failed(&self, why: &str, running: &Running) -> Failure {
        let lines = running.last_lines(&self.secrets);
        Failure::Failed(format!("program {} {why}{lines}", self.name))
    }

    pub(crate) fn time_limit(&self) -> Duration {
        Duration::from_secs(self.config.timeout_seconds.into())
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

/// The absolute path of a program, which is looked for in `PATH` where it has no folder.
fn found(program: &str) -> Result<String, String> {
    let given = Path::new(program);
    let candidates: Vec<PathBuf> = if program.contains('/') {
        std::path::absolute(given).into_iter().collect()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(given)).collect()
    };
    let path = candidates.into_iter().find(|path| path.is_file());
    let path = path.and_then(|path| path.to_str().map(str::to_owned));
    path.ok_or_else(|| format!("{program} was not found: install it, or name its path"))
}
