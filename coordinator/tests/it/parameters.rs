//! What a model is asked, with the binary and a simulated provider that refuses one parameter or another.

use mock_llm::{Manner, Settings};
use serde_json::Value;

use crate::model::{closing, corpus, outcomes, right, start};
use crate::process::Ended;
use crate::provider::{Mock, answers, plain};

const RECORDS: usize = 6;

fn refusing(words: &str) -> Mock {
    let manner = Manner { refuses: words.parse().unwrap(), ..Manner::default() };
    Mock::start(Settings { answers: answers(|_| right()), manner, ..plain() }, None)
}

fn run(folder: &std::path::Path, mock: &Mock, settings: &[&str]) -> Ended {
    corpus(&folder.join("detections.json"), RECORDS);
    let settings = [&["limits.concurrency=1"], settings].concat();
    let more: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    start(folder, mock, &more).end()
}

fn answer_forms(folder: &std::path::Path) -> Value {
    let file: Value = serde_json::from_slice(&std::fs::read(folder.join("r/run.json")).unwrap()).unwrap();
    file["models"]["answer_forms"].clone()
}

#[test]
fn what_a_model_refuses_is_not_sent_by_default_and_stops_the_run_at_the_first_call_where_it_is_set() {
    for (refused, setting, words) in [
        ("temperature", "proposer.temperature=0", "Unsupported value: 'temperature' does not support 0"),
        ("max_tokens", "proposer.max_tokens=500", "Use 'max_completion_tokens' instead"),
        ("seed", "proposer.seed=7", "'seed' is not supported with this model"),
        ("reasoning_effort", "proposer.reasoning_effort=low", "'reasoning_effort' is not supported"),
        ("service_tier", "proposer.service_tier=flex", "'service_tier' is not supported"),
        (
            "strict",
            "proposer.answer_form=strict_schema",
            "'response_format.json_schema.strict' is not supported",
        ),
        (
            "json_schema",
            "proposer.answer_form=json_schema",
            "'response_format' of type 'json_schema' is not supported",
        ),
    ] {
        let mock = refusing(refused);
        let folder = tempfile::tempdir().unwrap();
        let ended = run(folder.path(), &mock, &[]);
        assert_eq!(ended.status.code(), Some(0), "{refused}: {}", ended.stderr);
        assert_eq!(closing(&ended)["accepted"], RECORDS, "{refused}");
        let mock = refusing(refused);
        let folder = tempfile::tempdir().unwrap();
        let ended = run(folder.path(), &mock, &[setting]);
        assert_eq!(ended.status.code(), Some(2), "{setting}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{setting}: {}", ended.stderr);
        let report = mock.provider.report();
        assert_eq!((report.accepted, report.refused_400), (0, 1), "{setting}: at the first call");
    }
    let newer = ["proposer.max_tokens=500", "proposer.max_tokens_as=max_completion_tokens"];
    let ended = run(tempfile::tempdir().unwrap().path(), &refusing("max_tokens"), &newer);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn the_strictest_form_that_the_provider_takes_is_asked_for_and_said() {
    for (refuses, form, refused) in [
        ("", "strict_schema", 0),
        ("strict", "json_schema", 1),
        ("json_schema", "json_object", 2),
        ("json_object", "text", 3),
    ] {
        let (mock, folder) = (refusing(refuses), tempfile::tempdir().unwrap());
        let ended = run(folder.path(), &mock, &[]);
        assert_eq!(ended.status.code(), Some(0), "{refuses}: {}", ended.stderr);
        assert_eq!(answer_forms(folder.path())[form], RECORDS, "{refuses}");
        let report = mock.provider.report();
        assert_eq!(
            (report.accepted, report.refused_400),
            (RECORDS as u64, refused),
            "{refuses}: once for the run"
        );
        assert_eq!(ended.stderr.contains("refuses this form of answers"), refused > 0, "{}", ended.stderr);
        for row in outcomes(folder.path()) {
            assert_eq!(
                (row.attempts, row.usage.answer_form.as_deref()),
                (1, Some(form)),
                "no attempt is lost"
            );
        }
    }
}

#[test]
fn a_model_that_there_is_not_stops_the_run_at_the_first_call() {
    let manner = Manner { models: vec!["another".parse().unwrap()], ..Manner::default() };
    let mock = Mock::start(Settings { answers: answers(|_| right()), manner, ..plain() }, None);
    let ended = run(tempfile::tempdir().unwrap().path(), &mock, &[]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("The model `grok-4.3` does not exist"), "{}", ended.stderr);
    assert_eq!(mock.provider.report().refused_400, 1);
}

#[test]
fn responses_and_chat_completions_give_the_same_rows() {
    let fingerprint = |settings: &[&str]| {
        let (mock, folder) = (refusing(""), tempfile::tempdir().unwrap());
        let ended = run(folder.path(), &mock, settings);
        assert_eq!(ended.status.code(), Some(0), "{settings:?}: {}", ended.stderr);
        assert_eq!(mock.provider.report().accepted, RECORDS as u64);
        let parts = std::fs::read_dir(folder.path().join("r")).unwrap().map(|entry| entry.unwrap().path());
        let parts = parts.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("part-"));
        let parts: Vec<_> = parts.map(Into::into).collect();
        results::fingerprint::fingerprint(parts).unwrap().to_string()
    };
    let chat = fingerprint(&[]);
    assert_eq!(fingerprint(&["proposer.api=responses"]), chat);
    // Parameters are parts of the question, and of no row.
    assert_eq!(
        fingerprint(&["proposer.api=responses", "proposer.reasoning_effort=low", "proposer.max_tokens=900"]),
        chat
    );
    let sticky = [
        "proposer.sticky_cache=x_grok_conv_id",
        "proposer.extra_body.top_k=5",
        "grok.extra_headers.X-Team=a",
    ];
    assert_eq!(fingerprint(&sticky), chat);
}
