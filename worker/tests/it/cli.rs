//! Runs the program; helpers for the tests of its commands.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The program, in the workspace's root, without the user's environment.
pub(crate) fn worker() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("worker"));
    command.current_dir(root()).env_clear();
    command
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Exit code, stdout and stderr of a call.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Writes a file below `folder`.
pub(crate) fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_wrong_command_line_exits_2() {
    let (code, stdout, stderr) = run(worker().args(["detect", "--policy", "no-such", "x"]));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("unknown policy; known are no_latest_tag"), "{stderr}");
    assert_eq!(run(&mut worker()).0, 2);
}

#[test]
fn completions_contain_the_commands() {
    let (code, stdout, _) = run(worker().args(["completions", "bash"]));
    assert_eq!(code, 0);
    assert!(stdout.contains("detect"));
}

#[test]
fn the_version_says_what_the_program_speaks_and_writes() {
    let (code, stdout, _) = run(worker().arg("--version"));
    let lines: Vec<&str> = stdout.lines().collect();
    let protocol = format!("protocol {}", proto::PROTOCOL_VERSION);
    let results = format!("results format {}", results::schema::FORMAT_VERSION);
    assert_eq!((code, lines.len()), (0, 4), "{stdout}");
    assert!(lines[0].starts_with("worker ") && lines[1].starts_with("commit "), "{stdout}");
    assert_eq!(lines[2..], [protocol, results]);
    assert_eq!(run(worker().arg("-V")).1.lines().count(), 1);
}
