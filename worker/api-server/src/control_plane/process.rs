//! A control plane as its user sees it: started, running, ended.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::find::{FindError, find};
use super::scratch;
use super::supervisor::{Event, Job, SUPERVISOR};

/// A supervisor that has not started both programs in this time is broken.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
/// Longest end. A supervisor that is told to end takes milliseconds.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of one event.
const EVENT_BYTES: u64 = 1 << 20;

/// Which control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `1.37` or `1.37.2`; `None`: what is there.
    pub version: Option<String>,
    /// The program that supervises it, which calls [`super::supervise`] first in its `main`; `None`: this one.
    pub supervisor: Option<PathBuf>,
}

/// A control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its programs are not there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The process that supervises it did not start.
    #[error("cannot start its supervisor")]
    Supervisor(#[source] io::Error),
    /// One of its programs ended.
    #[error("{why}")]
    Ended {
        /// Which, and its last lines.
        why: String,
    },
    /// It runs, and does not answer.
    #[error("it is not ready after {seconds} s{log}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// Its last lines.
        log: String,
    },
}

/// A running control plane. Dropping it ends it, and waits for that.
#[derive(Debug)]
pub struct ControlPlane {
    supervisor: Child,
    /// Open for as long as it is to run.
    input: Option<ChildStdin>,
    folder: PathBuf,
    ended: watch::Receiver<Option<String>>,
}

impl ControlPlane {
    /// Starts both programs. It takes some seconds until they answer.
    pub async fn start(options: &Options) -> Result<Self, StartError> {
        let options = options.clone();
        let started = tokio::task::spawn_blocking(move || Self::spawn(&options)).await;
        started.unwrap_or_else(|error| Err(StartError::Supervisor(io::Error::other(error.to_string()))))
    }

    fn spawn(options: &Options) -> Result<Self, StartError> {
        let programs = find(options.version.as_deref())?;
        let supervisor = match &options.supervisor {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(StartError::Supervisor)?,
        };
        let mut child = Command::new(supervisor)
            .arg(SUPERVISOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(StartError::Supervisor)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let Some((mut input, output)) = pipes else {
            return Err(StartError::Supervisor(io::Error::other("it has no pipes")));
        };
        let job = Job { kube_apiserver: programs.kube_apiserver, etcd: programs.etcd };
        let job = serde_json::to_string(&job).map_err(|error| StartError::Supervisor(error.into()))?;
        writeln!(input, "{job}").map_err(StartError::Supervisor)?;
        let (tell_started, started) = mpsc::channel();
        let (tell_ended, ended) = watch::channel(None);
        thread::spawn(move || listen(output, &tell_started, &tell_ended));
        let Ok(folder) = started.recv_timeout(STARTED_WITHIN) else {
            drop(input);
            end(&mut child);
            let why = ended.borrow().clone().unwrap_or_else(|| "its supervisor did not start it".to_owned());
            return Err(StartError::Ended { why });
        };
        Ok(Self { supervisor: child, input: Some(input), folder, ended })
    }

    /// Path of a kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Why it ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Waits until it ends; returns why.
    pub async fn until_ended(&self) -> String {
        let mut ended = self.ended.clone();
        let why = match ended.wait_for(Option::is_some).await {
            Ok(why) => why.clone(),
            Err(_) => None,
        };
        why.unwrap_or_else(|| "its supervisor ended".to_owned())
    }

    /// Ends it. Returns what it said last, as a text to add to a message.
    pub(crate) fn stop(self) -> String {
        let ended = self.ended.clone();
        drop(self);
        ended.borrow().clone().map(|why| format!(": {why}")).unwrap_or_default()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.input.take());
        end(&mut self.supervisor);
        // A supervisor that was killed could not.
        scratch::remove(&self.folder);
    }
}

/// Waits until a supervisor whose input is closed has ended.
fn end(supervisor: &mut Child) {
    let start = Instant::now();
    while !matches!(supervisor.try_wait(), Ok(Some(_)) | Err(_)) {
        if start.elapsed() > ENDED_WITHIN {
            let _ = supervisor.kill();
            let _ = supervisor.wait();
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads what a supervisor says, until it ends.
fn listen(output: ChildStdout, started: &mpsc::Sender<PathBuf>, ended: &watch::Sender<Option<String>>) {
    let mut reader = BufReader::new(output);
    let mut line = String::new();
    let mut last = None;
    loop {
        line.clear();
        match reader.by_ref().take(EVENT_BYTES).read_line(&mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match serde_json::from_str(&line) {
            Ok(Event::Started { folder }) => {
                let _ = started.send(folder);
            }
            Ok(Event::Ended { why }) => last = Some(why),
            // Not one of ours: nothing is known of what it says.
            Err(_) => {}
        }
    }
    ended.send_replace(Some(last.unwrap_or_else(|| "its supervisor was killed".to_owned())));
}
