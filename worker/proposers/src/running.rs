//! A running program: its output as events, its end, its folder.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Stop};
use crate::launch::{End, Job, Limits, SUPERVISOR};
use crate::scratch::Scratch;
use crate::stderr_tail::StderrTail;

/// A supervisor that has not called back in this time is broken.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
/// Longest end. A supervisor whose connection is closed takes milliseconds.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the last lines of a program that has ended. Its supervisor, which ends next, closes the pipe.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Events that wait: a program that writes without end waits for us.
const EVENTS: usize = 16;
/// Bytes of what a supervisor says.
const END_BYTES: u64 = 64 << 10;

/// How a program is started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The executable that starts it, which calls [`crate::supervise`] first.
    pub(crate) launcher: PathBuf,
    pub(crate) command: Vec<OsString>,
    pub(crate) environment: Vec<(String, OsString)>,
    pub(crate) limits: Limits,
    pub(crate) output: Output,
}

/// How standard output is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    /// Line by line, each at most so long.
    Lines(u64),
    /// As one text, at most so long.
    Whole(u64),
    /// Not at all.
    Ignored,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A line, or the whole output.
    Output(Vec<u8>),
    /// It was longer than it may be.
    TooLong(u64),
    /// Standard output is closed.
    OutputEnded,
    /// The program has ended, and all its descendants.
    Ended(End),
}

/// A running program. Dropping it ends it with all its descendants, waits for that, and removes its folder.
#[derive(Debug)]
pub(crate) struct Running {
    supervisor: Child,
    connection: UnixStream,
    events: Receiver<Event>,
    input: Option<SyncSender<Vec<u8>>>,
    stderr: StderrTail,
    pub(crate) scratch: Scratch,
}

impl Running {
    /// Starts a program in a folder that was prepared for it.
    pub(crate) fn start(start: &Start, scratch: Scratch) -> io::Result<Self> {
        let (listener, work) = (UnixListener::bind(scratch.socket())?, scratch.work());
        let mut supervisor = Command::new(&start.launcher)
            .arg(SUPERVISOR)
            .arg(scratch.socket())
            .env_clear()
            .envs(start.environment.iter().map(|(name, value)| (name, value)))
            // What a program writes on the way belongs into its folder.
            .env("HOME", &work)
            .env("TMPDIR", &work)
            .current_dir(&work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let called = called_back(&listener, &mut supervisor).and_then(|connection| {
            let (command, limits) = (start.command.clone(), start.limits);
            let job = Job { command, limits, folder: work, scratch: scratch.path().to_owned() };
            let job = serde_json::to_string(&job).map_err(io::Error::other)?;
            writeln!(&connection, "{job}")?;
            Ok(connection)
        });
        let connection = match called {
            Ok(connection) => connection,
            Err(error) => {
                let _ = supervisor.kill();
                let _ = supervisor.wait();
                return Err(error);
            }
        };
        let (events, inbox) = sync_channel(EVENTS);
        let stderr = StderrTail::default();
        let last_lines = supervisor.stderr.take().map(|output| stderr.follow(output));
        if let Some(output) = supervisor.stdout.take() {
            let (how, events) = (start.output, events.clone());
            thread::spawn(move || read_output(output, how, &events));
        }
        let ends = connection.try_clone()?;
        thread::spawn(move || read_end(ends, last_lines.as_ref(), &events));
        let input = supervisor.stdin.take().map(write_input);
        Ok(Self { supervisor, connection, events: inbox, input, stderr, scratch })
    }

    /// Sends a line to its standard input; without effect where it does not read any more.
    pub(crate) fn send(&self, line: Vec<u8>) {
        if let Some(input) = &self.input {
            let _ = input.try_send(line);
        }
    }

    /// Closes its standard input.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// The next event before `until`; `None`: there was none.
    pub(crate) fn next(&self, until: Instant, stop: &Stop) -> Result<Option<Event>, Failure> {
        loop {
            if stop() {
                return Err(Failure::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left.min(LOOK)) {
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Timeout) if left > LOOK => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Whether it runs, and has said nothing that was not taken.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.events.try_recv(), Err(TryRecvError::Empty))
    }

    /// Its last lines on standard error, as a text to add to a message.
    pub(crate) fn last_lines(&self, secrets: &[String]) -> String {
        self.stderr.text(secrets)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
        self.input = None;
        let start = Instant::now();
        while !matches!(self.supervisor.try_wait(), Ok(Some(_)) | Err(_)) {
            // Whoever waits to hand over an event goes on.
            while self.events.try_recv().is_ok() {}
            if start.elapsed() > ENDED_WITHIN {
                let _ = self.supervisor.kill();
                let _ = self.supervisor.wait();
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Waits for the connection of a supervisor.
fn called_back(listener: &UnixListener, supervisor: &mut Child) -> io::Result<UnixStream> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                return Ok(connection);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if supervisor.try_wait()?.is_some() {
            return Err(io::Error::other("its supervisor ended"));
        }
        if start.elapsed() > STARTED_WITHIN {
            return Err(io::Error::other("its supervisor did not start"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Writes lines in a thread of its own: a program that does not read must not stop us. At most one waits.
fn write_input(mut input: ChildStdin) -> SyncSender<Vec<u8>> {
    let (sender, lines) = sync_channel::<Vec<u8>>(1);
    thread::spawn(move || {
        for line in lines {
            if input.write_all(&line).and_then(|()| input.flush()).is_err() {
                return;
            }
        }
    });
    sender
}

fn read_output(output: impl Read, how: Output, events: &SyncSender<Event>) {
    let mut reader = BufReader::new(output);
    match how {
        Output::Ignored => {
            let _ = io::copy(&mut reader, &mut io::sink());
        }
        Output::Whole(most) => {
            let mut bytes = Vec::new();
            let _ = reader.by_ref().take(most + 1).read_to_end(&mut bytes);
            let too_long = bytes.len() as u64 > most;
            let event = if too_long { Event::TooLong(most) } else { Event::Output(bytes) };
            let _ = events.send(event);
            let _ = io::copy(&mut reader, &mut io::sink());
        }
        Output::Lines(most) => loop {
            let mut line = Vec::new();
            match reader.by_ref().take(most + 1).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) if line.len() as u64 > most => {
                    let _ = events.send(Event::TooLong(most));
                    break;
                }
                Ok(_) if events.send(Event::Output(line)).is_err() => return,
                Ok(_) => {}
            }
        },
    }
    let _ = events.send(Event::OutputEnded);
}

/// The end of a program comes with what it wrote before: `last_lines` reads that.
fn read_end(connection: UnixStream, last_lines: Option<&JoinHandle<()>>, events: &SyncSender<Event>) {
    let mut line = String::new();
    let read = BufReader::new(connection).take(END_BYTES).read_line(&mut line);
    let start = Instant::now();
    while last_lines.is_some_and(|thread| !thread.is_finished()) && start.elapsed() < LAST_LINES_WITHIN {
        thread::sleep(Duration::from_millis(1));
    }
    let end = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let gone = || End { how: "its supervisor was killed".to_owned(), code: None };
    let _ = events.send(Event::Ended(end.unwrap_or_else(gone)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output whose only line comes late.
    struct Late(io::Cursor<&'static [u8]>);

    impl Read for Late {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_millis(100));
            self.0.read(buffer)
        }
    }

    #[test]
    fn an_end_comes_after_the_last_lines() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let end = End { how: "it ended with exit code 1".to_owned(), code: Some(1) };
        writeln!(theirs, "{}", serde_json::to_string(&end).unwrap()).unwrap();
        let (events, inbox) = sync_channel(EVENTS);
        let stderr = StderrTail::default();
        let last_lines = stderr.follow(Late(io::Cursor::new(b"wrong\n")));
        read_end(ours, Some(&last_lines), &events);
        assert!(matches!(inbox.recv().unwrap(), Event::Ended(End { code: Some(1), .. })));
        assert!(stderr.text(&[]).contains("wrong"));
    }
}
