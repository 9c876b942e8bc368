//! What is needed to start a process of a program, and what its failures say.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{ProgramConfig, ProgramError};
use crate::failure::{Failure, Stop};
use crate::launch::Limits;
use crate::running::{Event, Output, Running, Start};
use crate::scratch::Scratch;

/// Environment variables that every program is given.
const PASSED: [&str; 3] = ["PATH", "LANG", "TZ"];
/// A value of a variable that is shorter is no secret that could be found in a text.
const SECRET_BYTES: usize = 8;

/// Starts the processes of a program.
#[derive(Debug)]
pub(crate) struct Starter {
    pub(crate) name: String,
    /// What the program is.
    pub(crate) config: ProgramConfig,
    files: Vec<PathBuf>,
    launcher: PathBuf,
    environment: Vec<(String, OsString)>,
    /// Values of the variables that it alone is given.
    secrets: Vec<String>,
}

impl Starter {
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
        Ok(Self { name: name.to_owned(), files, launcher, environment, secrets, config })
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
