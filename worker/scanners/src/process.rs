//! One process of a scanner: started in a folder of ours without our environment, bounded in time and output, and ended with
//! all that it started.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::error::Failure;

/// Bytes of standard output at most.
const STDOUT_BYTES: u64 = 512 << 20;
/// Bytes of standard error at most.
const STDERR_BYTES: u64 = 64 << 20;
/// Bytes of standard error that are quoted in errors.
const QUOTED: usize = 2_000;
/// Between two looks at the process.
const LOOK: Duration = Duration::from_millis(5);
/// How long output may be held by what outlives the process.
const HELD_FOR: Duration = Duration::from_secs(2);
/// Variables that a scanner is given as we have them.
const PASSED: [&str; 2] = ["PATH", "LANG"];

/// What a process wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    status: ExitStatus,
}

impl Output {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The process as one that ended badly.
    pub(crate) fn died(&self) -> Failure {
        let status = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown status".to_owned(),
        };
        let stderr = quoted(&self.stderr);
        Failure::Died {
            status,
            stderr: if stderr.is_empty() { "it said nothing".to_owned() } else { stderr },
        }
    }
}

/// The end of a text, on one line.
pub(crate) fn quoted(text: &str) -> String {
    let text = text.trim();
    let start = (text.len().saturating_sub(QUOTED)..=text.len()).find(|at| text.is_char_boundary(*at));
    let end = start.and_then(|start| text.get(start..)).unwrap_or_default();
    end.lines().map(str::trim_end).collect::<Vec<_>>().join(" | ").replace(|c: char| c.is_control(), "?")
}

/// Runs a program to its end in `folder`, which is its home and its place for temporary files too.
pub(crate) fn run(
    program: &Path,
    arguments: &[OsString],
    folder: &Path,
    time: Duration,
) -> Result<Output, Failure> {
    run_with(program, arguments, folder, &Bounds { time, stdout_bytes: STDOUT_BYTES, variables: &[] })
}

/// What a process is given, and what it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) time: Duration,
    pub(crate) stdout_bytes: u64,
    /// Variables of its environment, beside those that every process has.
    pub(crate) variables: &'a [(&'a str, &'a str)],
}

/// As [`run`], with bounds of its own.
pub(crate) fn run_with(
    program: &Path,
    arguments: &[OsString],
    folder: &Path,
    bounds: &Bounds<'_>,
) -> Result<Output, Failure> {
    let Bounds { time, stdout_bytes, variables } = *bounds;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear();
    command.envs(PASSED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.env("HOME", folder).env("TMPDIR", folder).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Failure::Start)?;
    let stdout = child.stdout.take().map(|pipe| reader(pipe, stdout_bytes));
    let stderr = child.stderr.take().map(|pipe| reader(pipe, STDERR_BYTES));
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        let _ = end(&mut child);
        return Err(Failure::Start(io::Error::other("it has no pipes")));
    };
    let waited = wait(&child, time, &stdout, &stderr);
    // Also after a good end: what it started must not outlive it.
    let status = end(&mut child).map_err(Failure::Start)?;
    waited?;
    Ok(Output {
        stdout: stdout.whole()?,
        stderr: String::from_utf8_lossy(&stderr.whole()?).into_owned(),
        status,
    })
}

/// Waits until the process has ended, without taking its status: until then nothing else can have its number.
fn wait(child: &Child, time: Duration, stdout: &Reader, stderr: &Reader) -> Result<(), Failure> {
    let deadline = Instant::now() + time;
    let Some(pid) = pid_of(child) else { return Ok(()) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), options).is_ok_and(|ended| ended.is_none()) {
        for reader in [stdout, stderr] {
            reader.check()?;
        }
        if Instant::now() >= deadline {
            return Err(Failure::TimedOut { seconds: time.as_secs() });
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Kills the process and its group, and takes its status.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(pid) = pid_of(child) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    child.wait()
}

/// What is read from a pipe; an error once there is too much of it.
struct Reader {
    flooded: Receiver<()>,
    whole: Receiver<io::Result<Vec<u8>>>,
    limit: u64,
}

fn reader(pipe: impl Read + Send + 'static, limit: u64) -> Reader {
    let (tell_flooded, flooded) = channel();
    let (tell_whole, whole) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // The pipe is closed at the limit: who goes on writing is told so.
        let read = pipe.take(limit + 1).read_to_end(&mut bytes);
        if bytes.len() as u64 > limit {
            let _ = tell_flooded.send(());
        }
        let _ = tell_whole.send(read.map(|_| bytes));
    });
    Reader { flooded, whole, limit }
}

impl Reader {
    fn check(&self) -> Result<(), Failure> {
        match self.flooded.try_recv() {
            Ok(()) => Err(Failure::Flood { bytes: self.limit }),
            Err(_) => Ok(()),
        }
    }

    fn whole(&self) -> Result<Vec<u8>, Failure> {
        match self.whole.recv_timeout(HELD_FOR) {
            Ok(Ok(bytes)) if bytes.len() as u64 > self.limit => Err(Failure::Flood { bytes: self.limit }),
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(Failure::Garbage { reason: format!("its output cannot be read: {error}") }),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Failure::Held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time: Duration) -> Result<Output, Failure> {
        let folder = tempfile::tempdir().unwrap();
        run(Path::new("/bin/sh"), &["-c".into(), script.into()], folder.path(), time)
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let output = shell("echo out; echo err >&2; exit 3", Duration::from_secs(10)).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (&b"out\n"[..], "err\n"));
        assert_eq!(output.code(), Some(3));
        assert!(output.died().to_string().starts_with("ended with exit code 3: err;"), "{}", output.died());
        let killed = shell("kill -9 $$", Duration::from_secs(10)).unwrap();
        assert!(killed.died().to_string().starts_with("ended with signal 9: it said nothing"));
    }

    #[test]
    fn the_environment_is_not_ours() {
        let output = shell("pwd -P; echo $HOME $TMPDIR; env", Duration::from_secs(10)).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let folder = lines.next().unwrap();
        let homes: Vec<&str> = lines.next().unwrap().split(' ').collect();
        assert_eq!(homes[0], homes[1]);
        assert!(folder.ends_with(homes[0].trim_start_matches("/private")), "{folder} {homes:?}");
        // cargo sets this one for tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert!(!text.contains("CARGO"), "{text}");
    }

    #[test]
    fn a_process_is_killed_at_its_limit_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let script = "(sleep 3; echo alive > survivor) & sleep 60";
        let start = Instant::now();
        let arguments = ["-c".into(), script.into()];
        let result = run(Path::new("/bin/sh"), &arguments, folder.path(), Duration::from_millis(300));
        assert!(matches!(result, Err(Failure::TimedOut { .. })), "{result:?}");
        assert!(start.elapsed() < Duration::from_secs(3));
        thread::sleep(Duration::from_secs(3));
        assert!(!folder.path().join("survivor").exists());
    }

    #[test]
    fn what_a_process_leaves_behind_ends_with_it() {
        let start = Instant::now();
        let output = shell("sleep 60 & echo done", Duration::from_secs(30)).unwrap();
        assert_eq!(output.stdout, b"done\n");
        assert!(start.elapsed() < Duration::from_secs(10), "the output is not held");
    }

    #[test]
    fn a_flood_is_ended() {
        let result = shell("yes >&2", Duration::from_secs(60));
        assert!(matches!(result, Err(Failure::Flood { bytes: STDERR_BYTES })), "{result:?}");
    }

    #[test]
    fn a_missing_program_is_named_by_its_error() {
        let folder = tempfile::tempdir().unwrap();
        let result = run(Path::new("/nonexistent/x"), &[], folder.path(), Duration::from_secs(1));
        assert!(matches!(result, Err(Failure::Start(_))), "{result:?}");
    }

    #[test]
    fn quotes_are_one_bounded_line() {
        assert_eq!(quoted(" a\n\u{1b}[1mb\n"), "a | ?[1mb");
        assert!(quoted(&"ä".repeat(5_000)).len() <= QUOTED);
    }
}
