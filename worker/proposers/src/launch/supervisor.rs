//! The process that starts a program, and outlives us just long enough to end it.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::child;
use super::job::{End, Job, Limits};
use super::tree::{descendants_use, kill_descendants, reap_orphans};

/// Between two looks at what the program uses.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of a job.
const JOB_BYTES: u64 = 1 << 20;

enum Event {
    /// We are gone, or want the program to end.
    Closed,
    Exited(io::Result<ExitStatus>),
}

pub(super) fn run(socket: Option<OsString>) -> ExitCode {
    // Ctrl-C of a terminal is for who asked for the program.
    let _ = rustix::process::setsid();
    let Some(Ok(connection)) = socket.map(UnixStream::connect) else { return ExitCode::from(2) };
    match supervise(&connection) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&connection, &End { how: error.to_string(), code: None });
            ExitCode::from(2)
        }
    }
}

fn supervise(connection: &UnixStream) -> io::Result<()> {
    let mut line = String::new();
    let mut input = BufReader::new(connection);
    input.by_ref().take(JOB_BYTES).read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).map_err(io::Error::other)?;
    adopt_orphans();
    // The kernel ties a program to the thread that started it: this one, which stays to the end.
    let child = child::command(&job.command, &job.limits, &job.folder)?
        .process_group(0)
        .stdin(Stdio::inherit())
        .spawn()?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let (events, inbox) = channel();
    wait_for_close(connection.try_clone()?, events.clone());
    wait_for_exit(child, events);
    let end = watch(&inbox, &job.limits, pid);
    // All of a group at once: none of it can start another meanwhile.
    if let Some(group) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    if !kill_descendants() {
        tracing::warn!("a process of a program cannot be killed");
    }
    match end {
        Some(end) => say(connection, &end),
        None => {
            let _ = std::fs::remove_dir_all(&job.scratch);
        }
    }
    Ok(())
}

/// Who listened may be gone.
fn say(mut connection: &UnixStream, end: &End) {
    if let Ok(line) = serde_json::to_string(end) {
        let _ = writeln!(connection, "{line}");
    }
}

fn wait_for_close(mut connection: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        let _ = io::copy(&mut connection, &mut io::sink());
        let _ = events.send(Event::Closed);
    });
}

fn wait_for_exit(mut child: Child, events: Sender<Event>) {
    thread::spawn(move || {
        let _ = events.send(Event::Exited(child.wait()));
    });
}

/// Waits until the program ends, uses too much, or has to end; `None`: it has to.
fn watch(inbox: &Receiver<Event>, limits: &Limits, pid: i32) -> Option<End> {
    let too_much = |how: String| Some(End { how, code: None });
    loop {
        match inbox.recv_timeout(LOOK) {
            Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => return None,
            Ok(Event::Exited(Ok(status))) => return Some(ended(status)),
            Ok(Event::Exited(Err(error))) => return too_much(error.to_string()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        reap_orphans(pid);
        let used = descendants_use();
        // The program itself is not a child of it.
        if used.processes > limits.children as usize + 1 {
            return too_much(format!("it started more than {} children", limits.children));
        }
        if used.memory_bytes > limits.memory_bytes {
            return too_much(format!("it used more than {} MiB of memory", limits.memory_bytes >> 20));
        }
    }
}

fn ended(status: ExitStatus) -> End {
    use std::os::unix::process::ExitStatusExt as _;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    };
    End { how, code: status.code() }
}

/// Elsewhere a descendant that leaves the program's process group is not found.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn adopt_orphans() {}
