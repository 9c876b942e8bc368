//! Faults of the disk, of other programs and of older files: an error that names the file and the remedy, exit code 2,
//! nothing lost; once the cause is repaired, the same command gives the undisturbed run.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use domain::testing::skipped;
use serde_json::Value;

use crate::support::{detections, run};

/// A user without files.
const NOBODY: u32 = 65_534;

/// A run whose process ended after some commits, and its expected fingerprint.
struct Half {
    folder: tempfile::TempDir,
    fingerprint: Value,
}

impl Half {
    fn new() -> Self {
        Self::at("commit-recorded:4")
    }

    /// Ended at the given crash point.
    fn at(point: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("detections.json");
        detections(&corpus, 30);
        let fingerprint = run(&corpus, &folder.path().join("undisturbed"), &[])["fingerprint"].clone();
        let half = Self { folder, fingerprint };
        let output = half.command(&["--crash-at", point]).output().unwrap();
        assert_eq!(output.status.signal(), Some(6), "{output:?}");
        half
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn ledger(&self) -> PathBuf {
        self.out().join("r/.coordinator/ledger.sqlite")
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("coordinator"));
        command.args(["run", "--output", "json", "--run-id", "r", "--workers", "1", "--shard-size", "6"]);
        command.arg("--corpus").arg(self.folder.path().join("detections.json"));
        command.arg("--out").arg(self.out()).args(more).stdin(Stdio::null());
        command
    }

    /// Checks that the command fails with exit code 2 and prints all of `needed`.
    fn fails(&self, needed: &[&str]) {
        refused(&self.command(&[]).output().unwrap(), needed);
    }

    /// Checks that the command gives the undisturbed run.
    fn goes_on(&self) {
        let output = self.command(&[]).output().unwrap();
        assert!(output.status.success(), "{}", talk(&output));
        let closing: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(closing["fingerprint"], self.fingerprint);
    }

    /// Writes the write-ahead log into the file, to damage it there.
    fn checkpoint(&self) {
        let connection = rusqlite::Connection::open(self.ledger()).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    /// Damages the ledger, checks that it is refused and unchanged, and restores it.
    fn survives(&self, damage: impl Fn(&mut Vec<u8>), needed: &[&str]) {
        let whole = std::fs::read(self.ledger()).unwrap();
        let mut damaged = whole.clone();
        damage(&mut damaged);
        std::fs::write(self.ledger(), &damaged).unwrap();
        self.fails(needed);
        assert_eq!(std::fs::read(self.ledger()).unwrap(), damaged, "the damaged file is unchanged");
        std::fs::write(self.ledger(), whole).unwrap();
    }
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(output: &Output, needed: &[&str]) {
    let talk = talk(output);
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(output.stdout.is_empty());
    for text in needed {
        assert!(talk.contains(text), "no {text:?} in: {talk}");
    }
}

#[test]
fn a_damaged_ledger_is_refused_and_unchanged() {
    let half = Half::new();
    half.checkpoint();
    let remedy = ["ledger.sqlite", "damaged", "put back a copy"];
    half.survives(|file| file[..64].fill(0x5a), &remedy);
    half.survives(|file| file.truncate(file.len() / 2), &remedy);
    half.survives(|file| file[4096..8192].fill(0xaa), &remedy);
    half.survives(|file| file.truncate(100), &remedy);
    half.goes_on();
}

#[test]
fn a_damaged_log_costs_no_more_than_its_last_steps() {
    let half = Half::new();
    let log = half.ledger().with_file_name("ledger.sqlite-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].fill(0xaa);
    std::fs::write(&log, &bytes).unwrap();
    half.goes_on();
}

#[test]
fn a_ledger_of_a_newer_version_is_refused() {
    let half = Half::new();
    let version = |number: i64| {
        let connection = rusqlite::Connection::open(half.ledger()).unwrap();
        let known: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        connection.pragma_update(None, "user_version", number).unwrap();
        known
    };
    let known = version(99);
    half.fails(&["ledger.sqlite", "version 99", "use a newer program"]);
    version(known);
    half.goes_on();
}

#[test]
fn a_locked_ledger_is_waited_for_and_then_reported() {
    let half = Half::new();
    let connection = rusqlite::Connection::open(half.ledger()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    half.fails(&["ledger.sqlite", "locked", "end that process, then repeat the command"]);
    connection.execute_batch("COMMIT").unwrap();
    half.goes_on();
}

#[test]
fn files_that_cannot_be_written_are_reported() {
    let half = Half::new();
    half.checkpoint();
    // Root may write everywhere: then run the program as another user.
    let readable = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let state = half.out().join("r/.coordinator");
    // What the programs make is readable by its owner alone.
    for folder in [half.folder.path().to_owned(), half.out(), half.out().join("r")] {
        readable(&folder, 0o755);
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                readable(&entry.path(), 0o644);
            }
        }
    }
    let root = is_root(&half);
    let attempt = || {
        let mut command = half.command(&[]);
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output()
    };
    for entry in std::fs::read_dir(&state).unwrap() {
        readable(&entry.unwrap().path(), 0o444);
    }
    readable(&state, 0o555);
    match attempt() {
        Ok(output) => refused(&output, &[".coordinator", "ermission denied"]),
        Err(error) => skipped(&format!("cannot run as another user ({error})")),
    }
    readable(&state.join("lock"), 0o666);
    match attempt() {
        Ok(output) => refused(&output, &["ledger.sqlite", "cannot be written", "the right to write there"]),
        Err(error) => skipped(&format!("cannot run as another user ({error})")),
    }
    readable(&state, 0o755);
    for entry in std::fs::read_dir(&state).unwrap() {
        readable(&entry.unwrap().path(), 0o644);
    }
    half.goes_on();
}

fn is_root(half: &Half) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(half.folder.path()).unwrap().uid() == 0
}

#[test]
fn a_damaged_part_is_named_and_its_shard_is_processed_again() {
    let damage: [fn(&Path, &[u8]); 3] = [
        |path, whole| std::fs::write(path, &whole[..whole.len() - 1]).unwrap(),
        |path, whole| {
            let mut flipped = whole.to_vec();
            flipped[whole.len() / 2] ^= 1;
            std::fs::write(path, flipped).unwrap();
        },
        |path, _| std::fs::remove_file(path).unwrap(),
    ];
    // Everything is committed; the process ended before the run was finalized.
    let half = Half::at("finish-begun");
    let copy = half.folder.path().join("copy");
    copied(&half.out(), &copy);
    for (damage, needed) in
        damage.into_iter().zip(["bytes instead of", "not have the bytes", "cannot be read"])
    {
        std::fs::remove_dir_all(half.out()).unwrap();
        copied(&copy, &half.out());
        let part = std::fs::read_dir(half.out().join("r/parts")).unwrap().next().unwrap().unwrap().path();
        let name = part.file_name().unwrap().to_str().unwrap();
        damage(&part, &std::fs::read(&part).unwrap());
        let output = half.command(&[]).output().unwrap();
        let talk = talk(&output);
        assert!(output.status.success(), "{talk}");
        for text in [name, needed, "leasing their shards again"] {
            assert!(talk.contains(text), "no {text:?} in: {talk}");
        }
        let closing: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(closing["fingerprint"], half.fingerprint);
    }
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copied(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_full_disk_stops_the_run_and_free_space_lets_it_go_on() {
    let half = Half::new();
    // A file system in its own mount name space, which ends with the shell.
    let script = r#"
        mount -t tmpfs -o size=2m tmpfs "$1" || exit 77
        cp -r "$2/." "$1" && dd if=/dev/zero of="$1/filler" bs=1k 2>/dev/null
        shift 2; set -- "$@"
        "$@"; echo "first $?" >&2
        rm "$FILLER"; mount -o remount,size=64m "$DISK" || exit 77
        "$@"
    "#;
    let disk = half.folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let inner = half.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]).arg(&disk).arg(half.out());
    command.env("DISK", &disk).env("FILLER", disk.join("filler")).arg(inner.get_program());
    let out = half.out();
    command.args(inner.get_args().map(|argument| if argument == out { disk.as_os_str() } else { argument }));
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.code() != Some(77) && !talk(&output).contains("unshare failed") => output,
        failed => {
            skipped(&format!("no file system of its own for the full disk ({failed:?})"));
            return;
        }
    };
    let talk = talk(&output);
    assert!(talk.contains("first 2"), "{talk}");
    assert!(talk.contains("full") || talk.contains("No space left"), "{talk}");
    assert!(
        ["check the space", "repeat the command", "once that is repaired"]
            .iter()
            .any(|remedy| talk.contains(remedy)),
        "{talk}"
    );
    assert!(output.status.success(), "{talk}");
    let closing: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(closing["fingerprint"], half.fingerprint);
}
