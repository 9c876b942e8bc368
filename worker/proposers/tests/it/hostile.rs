//! Hostile programs: each costs its record, in bounded time and memory, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proposers::{Confinement, Program, ProgramConfig, confinement};

use crate::support::{
    ask, editor, failed, launcher, open, processes_with, question, script, until_none_with,
};

/// A program that answers the question whose id is `good`, and does something else for every other.
fn bad_but_once(bad: &str) -> ProgramConfig {
    let text = format!(
        r#"while read -r line; do id=${{line#*\"id\":\"}}; id=${{id%%\"*}}
        if [ "$id" = good ]; then echo "{{\"id\":\"good\"}}"; else {bad}
        fi; done"#
    );
    ProgramConfig { timeout_seconds: 1, answer_bytes: 4096, ..script(&text) }
}

/// The failure of a bad record, after which a good one is answered all the same.
async fn failure(bad: &str) -> String {
    let program = open(bad_but_once(bad));
    let _working = program.work();
    ask(&program, "good").await.answer.unwrap();
    let start = Instant::now();
    let why = failed(ask(&program, "bad").await);
    assert!(start.elapsed() < Duration::from_secs(6), "{bad}: {:?}", start.elapsed());
    assert!(why.len() < 3000, "{}", why.len());
    ask(&program, "good").await.answer.unwrap_or_else(|error| panic!("{bad}: {error:?}"));
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_answer_ends_the_record_alone() {
    for (bad, word) in [
        ("sleep 3600", "no answer within 1 s"),
        ("echo garbage", "not an answer"),
        ("echo", "not an answer"),
        ("printf '\\377\\n'", "not UTF-8"),
        (r#"echo '{"id":"bad"'"#, "not an answer"),
        (r#"echo '{"id":"bad","patch":"x"}'"#, "not an answer"),
        (r#"echo '{"id":"bad","extra":1}'"#, "unknown field"),
        (r#"echo '{"id":"other"}'"#, "answered \"other\" instead of \"bad\""),
        ("exit 7", "exit code 7"),
        ("kill -9 $$", "signal 9"),
        ("echo I am broken >&2; exit 1", "its last lines: I am broken"),
        ("exec >&-; sleep 3600", "no answer within 1 s"),
        // Half of a line, then death.
        (r#"printf '{"id":"ba'; exit 0"#, "not an answer"),
        ("head -c 100000 /dev/zero | tr '\\0' x; echo", "more than 4096 bytes"),
        ("yes | head -c 1000000", "not an answer"),
        ("yes >&2", "no answer within 1 s"),
        (
            r#"printf '{"id":"bad","patch":[{"op":"add","path":"/a","value":'; head -c 3000 /dev/zero | tr '\0' '['; echo"#,
            "recursion limit",
        ),
    ] {
        let why = failure(bad).await;
        assert!(why.contains(word), "{bad}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_and_late_answers_say_nothing_about_the_next_record() {
    let twice = r#"while read -r line; do id=${line#*\"id\":\"}; id=${id%%\"*}
        echo "{\"id\":\"$id\",\"explanation\":\"one\"}"; sleep 0.1; echo "{\"id\":\"$id\",\"explanation\":\"two\"}"; done"#;
    let program = open(script(twice));
    let _working = program.work();
    for id in ["a", "b", "c", "a", "b"] {
        let answer = ask(&program, id).await.answer.unwrap();
        assert_eq!((answer.id.as_str(), answer.explanation.as_deref()), (id, Some("one")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_starts_does_not_outlive_it() {
    // In its group, in a session of its own, and orphaned there.
    let forks = "sleep 4711.5 & setsid sleep 4711.5 & (setsid sh -c 'sleep 4711.5 & sleep 4711.5' &) ; ";
    let program = open(editor(&format!("{forks} sleep 0.3; true")));
    assert!(ask(&program, "a").await.answer.is_ok());
    assert_eq!(processes_with("4711.5"), 0, "they ended before the answer was taken");
    let forks = forks.replace("4711.5", "4712.5");
    let program = open(ProgramConfig { timeout_seconds: 1, ..editor(&format!("{forks} sleep 4712.5")) });
    assert!(failed(ask(&program, "a").await).contains("did not end within 1 s"));
    until_none_with("4712.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_children_and_files_are_bounded() {
    let many = "for n in 1 2 3 4 5 6 7 8 9; do sleep 4713.5 & done; sleep 4713.5";
    let why = failed(ask(&open(ProgramConfig { children: 4, ..editor(many) }), "a").await);
    assert!(why.contains("more than 4 children"), "{why}");
    until_none_with("4713.5");
    let python = |text: &str| ProgramConfig {
        command: ["python3", "-c", text].map(str::to_owned).to_vec(),
        memory_mib: 128,
        ..editor("")
    };
    let why = failed(ask(&open(python("x = bytearray(1 << 30)")), "a").await);
    assert!(why.contains("MemoryError"), "{why}");
    // Each is below the limit of one process, all together are not.
    let shared = "import os, time\nfor _ in range(2): os.fork()\nx = b'x' * (40 << 20)\ntime.sleep(30)";
    let why = failed(ask(&open(python(shared)), "a").await);
    assert!(why.contains("more than 128 MiB of memory"), "{why}");
    let config = ProgramConfig { file_mib: 1, ..editor("head -c 3000000 /dev/zero > x") };
    assert!(ask(&open(config), "a").await.answer.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_clean_and_given_values_do_not_come_back() {
    let config = ProgramConfig {
        environment: vec!["CARGO_MANIFEST_DIR".to_owned()],
        answer: proposers::AnswerPlace::Stdout,
        ..editor("env")
    };
    let printed = ask(&open(config), "a").await.answer.unwrap().patched_yaml.unwrap();
    let names: Vec<&str> = printed.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for name in &names {
        assert!(
            ["PATH", "LANG", "TZ", "HOME", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD", "CARGO_MANIFEST_DIR"]
                .contains(name),
            "{name}"
        );
    }
    assert!(names.contains(&"CARGO_MANIFEST_DIR") && names.contains(&"HOME"));
    let config = ProgramConfig {
        environment: vec!["CARGO_MANIFEST_DIR".to_owned()],
        ..editor("echo wrong: $CARGO_MANIFEST_DIR >&2; exit 1")
    };
    let why = failed(ask(&open(config), "a").await);
    assert!(why.contains("wrong: ***"), "{why}");
}

/// Whether this kernel keeps programs to this; says so where not.
#[expect(clippy::print_stderr, reason = "a skip is said")]
fn is_kept_to(wanted: Confinement) -> bool {
    let kept = confinement() >= wanted;
    if !kept {
        eprintln!("skipped: the Landlock of this kernel does not do {wanted:?}");
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn it_writes_in_its_folder_alone() {
    if !is_kept_to(Confinement::Writes) {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("written");
    std::fs::write(outside.path().join("old"), "old").unwrap();
    let text = format!(
        "echo inside > inside; mkdir -p a/b; echo x > /dev/null || exit 9
        echo x > {target}; rm -f {old}; mv {old} here; ln manifest.yaml {target}; echo x >> ../control; exit 0",
        target = target.display(),
        old = outside.path().join("old").display()
    );
    let answer = ask(&open(editor(&text)), "a").await.answer;
    assert!(answer.is_ok(), "{answer:?}");
    assert!(!target.exists());
    assert_eq!(std::fs::read_to_string(outside.path().join("old")).unwrap(), "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_kills_no_process_of_ours_and_reads_no_environment() {
    if !is_kept_to(Confinement::WritesAndSignals) {
        return;
    }
    let us = std::process::id();
    let text = format!(
        "cat /proc/{us}/environ /proc/$PPID/environ > stolen 2>/dev/null; kill -9 $PPID; kill -9 {us}; cp stolen manifest.yaml"
    );
    let answer = ask(&open(editor(&text)), "a").await.answer.unwrap();
    // We are alive. Root may read every process, confined or not (`CAP_PERFMON`).
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0 {
        eprintln!("skipped: root may read every process");
        return;
    }
    assert_eq!(answer.patched_yaml.as_deref(), Some(""), "nothing was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_a_file_of_its_folder() {
    for (bad, word) in [
        ("ln -sf /etc/passwd manifest.yaml", "cannot be read"),
        ("rm manifest.yaml; mkfifo manifest.yaml", "not a file"),
        ("rm manifest.yaml; mkdir manifest.yaml", "not a file"),
        ("rm manifest.yaml", "cannot be read"),
        ("head -c 100000 /dev/zero > manifest.yaml", "longer than 4096 bytes"),
        ("printf '\\377' > manifest.yaml", "not UTF-8"),
        ("chmod 0 .; rm -rf ../*; true", ""),
    ] {
        let program: Arc<Program> = open(ProgramConfig { answer_bytes: 4096, ..editor(bad) });
        let asked = ask(&program, "a").await;
        if word.is_empty() {
            continue;
        }
        let why = failed(asked);
        assert!(why.contains(word), "{bad}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_folder_is_left() {
    let root = tempfile::tempdir().unwrap();
    let text = "mkdir -p a/b && touch a/b/c && chmod 0 a; pwd > manifest.yaml";
    let answer = ask(&open(editor(text)), "a").await.answer.unwrap().patched_yaml.unwrap();
    let folder = std::path::PathBuf::from(answer.trim());
    assert!(folder.ends_with("work") && !folder.exists() && !folder.parent().unwrap().exists());
    drop(root);
}

/// Asks a program that hangs, in a process of its own that is killed meanwhile.
#[test]
fn nothing_outlives_a_worker_that_is_killed() {
    // The process is this test again, see below.
    let ours = std::env::current_exe().unwrap();
    let mut worker = std::process::Command::new(ours)
        .args(["hostile::a_worker_that_hangs", "--exact", "--ignored", "--nocapture"])
        .spawn()
        .unwrap();
    let start = Instant::now();
    while processes_with("4714.5") < 3 {
        assert!(start.elapsed() < Duration::from_secs(20), "the program did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    worker.kill().unwrap();
    worker.wait().unwrap();
    until_none_with("4714.5");
    assert!(launcher().exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of another test, which kills it"]
async fn a_worker_that_hangs() {
    let program = open(ProgramConfig { timeout_seconds: 60, ..editor("setsid sleep 4714.5 & sleep 4714.5") });
    let _ = program.ask(question("a"), Arc::new(|| false)).await;
}
