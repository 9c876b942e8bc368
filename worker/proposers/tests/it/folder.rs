//! Protocol `folder`.

use proposers::{AnswerPlace, ProgramConfig};

use crate::support::{ask, editor, failed, open, question};

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_is_edited_in_place() {
    let program = open(editor(
        "grep -q '\"policy_id\": \"no_privileged\"' record.json && sed -i s/Pod/Job/ manifest.yaml",
    ));
    let answer = ask(&program, "a-1").await.answer.unwrap();
    assert_eq!(answer.patched_yaml.as_deref(), Some("kind: Job\nmetadata: {name: a}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn or_the_document_is_printed() {
    let stdout = |text: &str| ProgramConfig { answer: AnswerPlace::Stdout, ..editor(text) };
    let answer = ask(&open(stdout("sed s/Pod/Job/ manifest.yaml")), "a-1").await.answer.unwrap();
    assert_eq!(answer.patched_yaml.as_deref(), Some("kind: Job\nmetadata: {name: a}\n"));
    let why = failed(ask(&open(stdout("printf '\\377'")), "a").await);
    assert!(why.contains("not UTF-8"), "{why}");
    let why = failed(ask(&open(ProgramConfig { answer_bytes: 1024, ..stdout("yes") }), "a").await);
    assert!(why.contains("printed more than 1024 bytes"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_say_whether_there_is_an_answer() {
    let why = failed(ask(&open(editor("echo it went wrong >&2; exit 3")), "a").await);
    assert!(why.contains("exit code 3; its last lines: it went wrong"), "{why}");
    let config = ProgramConfig { exit_codes: vec![0, 3], ..editor("exit 3") };
    assert!(ask(&open(config), "a").await.answer.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_files_and_the_policy_are_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("policies/no_privileged.yaml"), "kind: Job").unwrap();
    let mut config = editor("cp policies/$0.yaml manifest.yaml");
    config.command.push("{policy_id}".to_owned());
    config.files = vec![folder.path().join("policies")];
    let program = open(config);
    let answer = ask(&program, "a").await.answer.unwrap();
    assert_eq!(answer.patched_yaml.as_deref(), Some("kind: Job"));
    let mut hostile = question("b");
    hostile.policy_id = "../../etc".to_owned();
    let why = failed(program.ask(hostile, crate::support::go_on()).await);
    assert!(why.contains("cannot stand in its arguments"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_repairs_some_policies_is_started_for_them_alone() {
    let config = ProgramConfig { policies: vec!["no_host_pid".to_owned()], ..editor("true") };
    let program = open(config);
    let asked = ask(&program, "a").await;
    assert!(asked.took < std::time::Duration::from_millis(5), "{:?}", asked.took);
    assert!(failed(asked).contains("repairs no_host_pid alone"));
}
