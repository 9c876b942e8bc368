//! What providers send and take, with the binary: forms of replies, redirects, keys, proxies, and models without a price.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::keys::{Recorder, completion, http, set};
use crate::model::{closing, corpus, outcomes, right};
use crate::process::{Ended, Process};

const RECORDS: usize = 4;

/// A run over a small corpus, with more settings and an environment.
fn run(folder: &Path, settings: &[&str], environment: &[(&str, &str)]) -> Ended {
    let detections = folder.join("detections.json");
    corpus(&detections, RECORDS);
    let usual = ["proposer.mode=grok", "guardrails=none", "max_attempts=1"];
    let arguments = [
        "run",
        "--output",
        "json",
        "--run-id",
        "r",
        "--workers",
        "1",
        "--corpus",
        detections.to_str().unwrap(),
    ];
    let out = ["--out", folder.to_str().unwrap()];
    let arguments = [&arguments[..], &out, &set(&usual), &set(settings)].concat();
    let binary = assert_cmd::cargo::cargo_bin!("coordinator");
    Process::start_with(binary, &arguments, environment).end()
}

/// A run at this provider, without a key.
fn run_at(folder: &Path, provider: &Recorder, more: &[&str]) -> Ended {
    let endpoint = format!("grok.endpoint={}", provider.url);
    run(folder, &[&["grok.api_key_env=", endpoint.as_str()], more].concat(), &[])
}

/// A reply with the right patch, of which `change` changes a part.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120});
    let choice = json!({"message": {"role": "assistant", "content": right()}, "finish_reason": "stop"});
    let mut body = json!({"choices": [choice], "usage": usage});
    change(&mut body);
    http("200 OK", &body.to_string())
}

/// Counts how often each document was asked about.
#[derive(Default)]
struct Tries(Mutex<HashMap<String, u32>>);

impl Tries {
    fn next(&self, request: &str) -> u32 {
        let name = request.split_once("name: p").map_or("", |(_, rest)| &rest[..1]).to_owned();
        let mut tries = self.0.lock().unwrap();
        let tries = tries.entry(name).or_default();
        *tries += 1;
        *tries
    }
}

/// A form of reply: its name, and what a request is answered with.
type Form = (&'static str, Box<dyn Fn(&str) -> String + Send + Sync>);

#[test]
fn an_odd_reply_is_read() {
    let once: fn(&str) -> String = |_| changed(|body| body["choices"][0]["message"]["content"] = Value::Null);
    let parts = |_: &str| {
        changed(|body| {
            let content = json!([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": right()}]);
            body["choices"][0]["message"]["content"] = content;
        })
    };
    let slash = |request: &str| {
        if request.starts_with("POST /v1/chat/completions/ ") {
            return completion(&right());
        }
        let head = "HTTP/1.1 308 Permanent Redirect\r\nlocation: /v1/chat/completions/\r\n";
        format!("{head}content-length: 0\r\nconnection: close\r\n\r\n")
    };
    let tries = Tries::default();
    let forms: Vec<Form> = vec![
        ("error beside an answer", Box::new(|_| changed(|body| body["error"] = json!("")))),
        ("null error", Box::new(|_| changed(|body| body["error"] = Value::Null))),
        ("parts", Box::new(parts)),
        (
            "a byte order mark",
            Box::new(|_| {
                let body = format!(
                    "\u{feff}{}",
                    json!({"choices": [{"message": {"content": right()}}], "usage": {"total_tokens": 9}})
                );
                http("200 OK", &body)
            }),
        ),
        (
            "drafts in the reasoning",
            Box::new(|_| {
                completion(&format!(
                    "<think>[{{\"op\":\"remove\",\"path\":\"/spec\"}}]</think>\n```json\n{}\n```",
                    right()
                ))
            }),
        ),
        (
            "null once",
            Box::new(
                move |request| if tries.next(request) == 1 { once(request) } else { completion(&right()) },
            ),
        ),
        ("a redirect", Box::new(slash)),
    ];
    for (name, reply) in forms {
        let folder = tempfile::tempdir().unwrap();
        let provider = Recorder::start(reply);
        let ended = run_at(folder.path(), &provider, &[]);
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", ended.stderr);
        assert_eq!(closing(&ended)["accepted"], RECORDS, "{name}: {}", ended.stderr);
    }
}

/// What comes in place of an answer is said in the row of the record, and asked for again as often as it helps.
#[test]
fn what_is_no_answer_is_said() {
    let null = |more: Value| {
        changed(|body| {
            body["choices"][0]["message"] = json!({"role": "assistant", "content": null});
            for (key, value) in more.as_object().unwrap() {
                body["choices"][0]["message"][key] = value.clone();
            }
        })
    };
    let call = json!({"tool_calls": [{"function": {"name": "apply", "arguments": "{}"}}]});
    for (reply, said, tries) in [
        (null(json!({})), "the answer is empty: finish reason stop", Some(2)),
        (null(json!({"reasoning_content": "[]"})), "its text stands in reasoning_content alone", Some(2)),
        (null(call), "a call of the tool apply came in its place", Some(2)),
        (http("200 OK", "data: {\"choices\": []}\n\n"), "an event stream came", None),
        (
            http("200 OK", "<html><title>Sign in</title></html>"),
            "a page came in place of JSON (Sign in)",
            None,
        ),
        (
            http("200 OK", "{\"error\": {\"message\": \"overloaded\", \"code\": 503}}"),
            "the provider answered 503: overloaded",
            None,
        ),
        (completion("[{\"op\": \"remove\", \"path\": \"/a\"},]"), "trailing comma", Some(1)),
        (completion(&json!({"patch": "[]"}).to_string()), "`patch` is a text", Some(1)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let provider = Recorder::start(move |_| reply.clone());
        let ended = run_at(folder.path(), &provider, &["proposer.retries=1", "proposer.outage_minutes=0"]);
        let Some(tries) = tries else {
            // The provider answers no call: the run stops, and no record counts as failed.
            assert!(
                ended.status.code() == Some(2) && ended.stderr.contains(said),
                "{said}: {}",
                ended.stderr
            );
            continue;
        };
        let rows = outcomes(folder.path());
        assert!(!rows.is_empty(), "{said}");
        for row in rows {
            let errors = row.attempt_errors.join("; ");
            assert!(errors.contains(said), "{said}: {errors}");
        }
        assert_eq!(provider.requests().len(), RECORDS * tries, "{said}");
    }
}

#[test]
fn an_answer_that_stays_empty_is_asked_for_again_once() {
    let folder = tempfile::tempdir().unwrap();
    let provider =
        Recorder::start(|_| changed(|body| body["choices"][0]["message"]["content"] = Value::Null));
    run_at(folder.path(), &provider, &["proposer.retries=5"]);
    assert_eq!(provider.requests().len(), 2 * RECORDS);
}

#[test]
fn tokens_count_as_numbers_and_what_is_not_counted_is_marked() {
    let odd = json!({"prompt_tokens": "100", "completion_tokens": 20.0, "total_tokens": 120.0});
    for (usage, estimated) in [(odd, false), (Value::Null, true), (json!({"prompt_tokens": []}), true)] {
        let folder = tempfile::tempdir().unwrap();
        let sent = usage.clone();
        let provider = Recorder::start(move |_| changed(|body| body["usage"] = sent.clone()));
        let ended = run_at(folder.path(), &provider, &[]);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let summary = closing(&ended);
        let (total, marked) =
            (summary["model_tokens"].as_u64().unwrap(), summary["model_estimated_tokens"].as_u64().unwrap());
        assert_eq!(
            (total == 120 * RECORDS as u64, marked == 0),
            (!estimated, !estimated),
            "{usage}: {summary}"
        );
        assert!(marked == 0 || marked == total, "{summary}");
        for row in outcomes(folder.path()) {
            let usage = &row.usage;
            assert_eq!(
                usage.estimated_tokens,
                if estimated { usage.total_tokens } else { Some(0) },
                "{usage:?}"
            );
            assert!(usage.total_tokens.unwrap() > 0);
        }
        // What was kept in the cache is the same.
        let again = tempfile::tempdir().unwrap();
        // The file, and the journal beside it.
        for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(".answers.sqlite") {
                std::fs::copy(entry.path(), again.path().join(name)).unwrap();
            }
        }
        let calls = provider.requests().len();
        let cached = run_at(again.path(), &provider, &[]);
        assert_eq!(provider.requests().len(), calls, "{}", cached.stderr);
        for row in outcomes(again.path()) {
            assert_eq!(row.usage.estimated_tokens.unwrap() > 0, estimated);
        }
    }
}

#[test]
fn a_redirect_elsewhere_stops_the_run_and_names_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let away = Recorder::start(|_| completion(&right()));
    let location = format!("{}/v1/chat/completions?token=hunter2", away.url);
    let provider = Recorder::start(move |_| {
        format!(
            "HTTP/1.1 308 Permanent Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    });
    let ended = run_at(folder.path(), &provider, &[]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    let named =
        format!("the provider answered 308 and names another address, {}/v1/chat/completions:", away.url);
    assert!(ended.stderr.contains(&named) && !ended.stderr.contains("hunter2"), "{}", ended.stderr);
    assert_eq!(away.requests(), Vec::<String>::new());
}

#[test]
fn a_key_that_is_not_a_key_alone_is_refused_before_a_call() {
    for (held, said) in [
        ("\u{feff}hunter2-hunter2", "begins with a byte order mark"),
        ("\"hunter2-hunter2\"", "holds quotes"),
        ("Bearer hunter2-hunter2", "the word before the key"),
        ("hunter2 hunter2", "holds a blank"),
        ("schl\u{fc}ssel-hunter2", "characters that are not valid"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let provider = Recorder::start(|_| completion(&right()));
        let endpoint = format!("grok.endpoint={}", provider.url);
        let ended = run(
            folder.path(),
            &[&endpoint, "grok.api_key_env=REPLIES_TEST_KEY"],
            &[("REPLIES_TEST_KEY", held)],
        );
        assert_eq!(ended.status.code(), Some(2), "{held}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("REPLIES_TEST_KEY") && ended.stderr.contains(said),
            "{held}: {}",
            ended.stderr
        );
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("hunter2"), "{}", ended.stderr);
        assert_eq!(provider.requests(), Vec::<String>::new(), "{held}");
    }
}

#[test]
fn a_dead_proxy_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    // A port without a listener.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = format!("http://user:hunter2@127.0.0.1:{port}");
    let settings = [
        "grok.api_key_env=",
        "grok.endpoint=http://models.example/v1",
        "proposer.retries=0",
        "proposer.outage_minutes=0",
    ];
    let ended = run(
        folder.path(),
        &settings,
        &[("HTTP_PROXY", &proxy), ("http_proxy", &proxy), ("NO_PROXY", ""), ("no_proxy", "")],
    );
    let rows = outcomes(folder.path());
    let said: Vec<String> =
        rows.iter().flat_map(|row| row.attempt_errors.clone()).chain([ended.stderr]).collect();
    let said = said.join("\n");
    let named = format!("cannot connect to models.example through the proxy http://127.0.0.1:{port}:");
    assert!(said.contains(&named) && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_model_without_a_price_costs_null_and_cannot_be_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Recorder::start(|_| changed(|_| ()));
    let unlisted = ["grok.model=grok-4-fast-reasoning"];
    let bounded = run_at(folder.path(), &provider, &[&unlisted[..], &["spend.max_cost_usd=1"]].concat());
    assert_eq!(bounded.status.code(), Some(2), "{}", bounded.stderr);
    for needed in ["no price of grok-4-fast-reasoning is known", "grok.price.input", "spend.max_requests"] {
        assert!(bounded.stderr.contains(needed), "{}", bounded.stderr);
    }
    assert_eq!(provider.requests(), Vec::<String>::new(), "it was refused at the start");
    for (settings, cost) in [
        (&unlisted[..], None),
        (&[unlisted[0], "grok.price.input=0", "grok.price.output=0"], Some(0.0)),
        (&["grok.model=grok-4.3"], Some((100.0 * 1.25 + 20.0 * 2.5) / 1e6)),
        (&["grok.model=grok-4.5", "spend.max_cost_usd=1"], Some((100.0 * 2.0 + 20.0 * 6.0) / 1e6)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ended = run_at(folder.path(), &provider, settings);
        assert_eq!(ended.status.code(), Some(0), "{settings:?}: {}", ended.stderr);
        let summary = closing(&ended);
        let whole = summary["cost_usd"].as_f64();
        let expected = cost.map(|cost| cost * RECORDS as f64);
        assert_eq!(whole.is_some(), cost.is_some(), "{settings:?}: {summary}");
        assert!((whole.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12, "{settings:?}: {summary}");
        for row in outcomes(folder.path()) {
            let paid = row.usage.cost_usd;
            assert_eq!(paid.is_some(), cost.is_some(), "{settings:?}: {paid:?}");
            assert!((paid.unwrap_or(0.0) - cost.unwrap_or(0.0)).abs() < 1e-12, "{settings:?}: {paid:?}");
        }
    }
}
