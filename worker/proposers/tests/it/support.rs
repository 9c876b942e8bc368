//! Programs as scripts of a shell.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proposers::{Asked, Failure, Program, ProgramConfig, Programs, Proposers, Protocol, Question, Stop};

pub(crate) fn launcher() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_launcher"))
}

/// A program of protocol `jsonl` that is this script.
pub(crate) fn script(text: &str) -> ProgramConfig {
    ProgramConfig {
        command: ["sh", "-c", text].map(str::to_owned).to_vec(),
        timeout_seconds: 10,
        processes: 1,
        ..ProgramConfig::default()
    }
}

/// A program of protocol `folder` that is this script.
pub(crate) fn editor(text: &str) -> ProgramConfig {
    ProgramConfig { protocol: Protocol::Folder, ..script(text) }
}

pub(crate) fn open(config: ProgramConfig) -> Arc<Program> {
    let programs = Programs([("fixer".to_owned(), config)].into());
    Proposers::open(programs, Some(launcher())).unwrap().get("fixer").unwrap()
}

pub(crate) fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        attempt: 1,
        policy_id: "no_privileged".to_owned(),
        violation_text: String::new(),
        manifest_yaml: "kind: Pod\nmetadata: {name: a}\n".to_owned(),
        feedback: None,
    }
}

pub(crate) fn go_on() -> Stop {
    Arc::new(|| false)
}

pub(crate) async fn ask(program: &Arc<Program>, id: &str) -> Asked {
    program.ask(question(id), go_on()).await
}

/// What is said of a failure.
pub(crate) fn failed(asked: Asked) -> String {
    match asked.answer {
        Err(Failure::Failed(why)) => why,
        other => panic!("not failed: {other:?}"),
    }
}

/// How many processes have this word in their command line or their environment.
pub(crate) fn processes_with(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let holds =
        |path: PathBuf| std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(word));
    let pids =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    pids.filter(|entry| holds(entry.path().join("cmdline"))).count()
}

/// Waits until none has it.
pub(crate) fn until_none_with(word: &str) {
    let start = Instant::now();
    while processes_with(word) > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{word} is still running");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A question about a document of this name.
pub(crate) fn question_about(id: &str, name: &str) -> Question {
    Question { manifest_yaml: format!("kind: Pod\nmetadata: {{name: {name}}}\n"), ..question(id) }
}
