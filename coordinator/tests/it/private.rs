//! Whatever a run leaves is its owner's alone, and a stranger cannot keep a coordinator from starting.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{coordinator, detections};

/// Everything below a folder, and the folder, with its permissions.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(folder.to_owned(), fs::metadata(folder).unwrap().permissions().mode() & 0o777)];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(modes(&path));
        } else {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.push((path, mode));
        }
    }
    found
}

/// What others may do with what lies below `folder`.
fn open_to_others(folder: &Path) -> Vec<String> {
    let found = modes(folder);
    assert!(found.len() > 3, "{found:?}");
    let open = found.into_iter().filter(|(_, mode)| mode & 0o077 != 0);
    open.map(|(path, mode)| format!("{mode:o} {}", path.display())).collect()
}

/// The binary, started by a shell that hides nothing.
fn generous(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(assert_cmd::cargo::cargo_bin!("coordinator"));
    command.args(arguments);
    command
}

#[test]
fn what_a_run_leaves_is_private_under_any_umask() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 12);
    let (corpus, place) = (corpus.to_str().unwrap(), out.to_str().unwrap());
    let arguments = ["run", "--corpus", corpus, "--out", place, "--run-id", "r1", "--shard-size", "5"];
    let output = generous(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(open_to_others(&out), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_coordinator_holds_open_is_private_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--state", state.to_str().unwrap()];
    let mut served = generous(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
    let ledger = state.join("ledger.sqlite-wal");
    for _ in 0..600 {
        if ledger.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (there, open) = (ledger.exists(), open_to_others(&state));
    served.kill().unwrap();
    served.wait().unwrap();
    assert!(there, "{:?}", modes(&state));
    assert_eq!(open, Vec::<String>::new(), "with the log of the ledger and the lock");
}

#[test]
fn a_state_folder_of_an_older_release_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 12);
    let state = out.join("r1/.coordinator");
    fs::create_dir_all(&state).unwrap();
    for name in ["lock", "ledger.sqlite"] {
        fs::write(state.join(name), "").unwrap();
        fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let answers = out.join(".answers.sqlite");
    fs::write(&answers, "").unwrap();
    fs::set_permissions(&answers, fs::Permissions::from_mode(0o644)).unwrap();
    let (corpus, place) = (corpus.to_str().unwrap(), out.to_str().unwrap());
    let output = coordinator(&["run", "--corpus", corpus, "--out", place, "--run-id", "r1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = coordinator(&["answers", "stats", "--answers", answers.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in [state.join("lock"), state.join("ledger.sqlite"), answers] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn who_holds_a_lock_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 3);
    let state = out.join("r1/.coordinator");
    fs::create_dir_all(&state).unwrap();
    let lock = File::create(state.join("lock")).unwrap();
    lock.lock_shared().unwrap();
    let output = coordinator(&[
        "run",
        "--corpus",
        corpus.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--run-id",
        "r1",
    ]);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(talk.contains(&format!("process {}", std::process::id())), "{talk}");
}
