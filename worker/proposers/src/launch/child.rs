//! The process that becomes a program: it gives up what the program may not have, then executes it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::confine::confine;
use super::job::{CHILD, Limits};

/// Exit code where the program cannot be executed, as in a shell.
const NOT_EXECUTED: u8 = 127;

/// The command that starts a program under these limits, as a child of this process.
pub(super) fn command(program: &[OsString], limits: &Limits, folder: &Path) -> io::Result<Command> {
    let limits = serde_json::to_string(limits).map_err(io::Error::other)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(CHILD).arg(std::process::id().to_string()).arg(limits).arg(folder).args(program);
    Ok(command)
}

/// Becomes a program. Returns where it cannot.
pub(super) fn become_program(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next().and_then(|number| number.to_str()?.parse::<i32>().ok());
    let limits = arguments.next().and_then(|text| serde_json::from_str::<Limits>(text.to_str()?).ok());
    let (Some(limits), Some(folder), Some(program)) = (limits, arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    die_with_parent();
    // The supervisor may have been killed before the kernel was asked.
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != parent {
        return ExitCode::from(2);
    }
    let mut command = Command::new(&program);
    command.args(arguments);
    if let Err(reason) = confine(Path::new(&folder)) {
        let _ = writeln!(io::stderr(), "cannot confine {}: {reason}", program.display());
        return ExitCode::from(2);
    }
    if let Err(error) = limit(&limits) {
        let _ = writeln!(io::stderr(), "cannot limit {}: {error}", program.display());
        return ExitCode::from(2);
    }
    let error = command.exec();
    let _ = writeln!(io::stderr(), "cannot run {}: {error}", program.display());
    ExitCode::from(NOT_EXECUTED)
}

fn limit(limits: &Limits) -> io::Result<()> {
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Data, limits.memory_bytes),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Elsewhere the supervisor alone ends the program, unless it is killed.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with_parent() {}
