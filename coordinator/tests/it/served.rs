//! What answered and what it cost, with the binary and a simulated provider that names other models and bills.

use domain::budget::{CostSource, Usd};
use domain::outcome::Outcome;
use mock_llm::{Manner, Settings};
use serde_json::Value;

use crate::model::{closing, corpus, outcomes, right, start};
use crate::process::Ended;
use crate::provider::{Mock, answers, plain};

const RECORDS: usize = 4;

fn mock(manner: Manner) -> Mock {
    Mock::start(Settings { answers: answers(|_| right()), manner, ..plain() }, None)
}

/// A run over a small corpus, with more settings; its rows, where it ended well.
fn run(folder: &std::path::Path, mock: &Mock, settings: &[&str]) -> (Ended, Vec<Outcome>) {
    corpus(&folder.join("detections.json"), RECORDS);
    let more: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let ended = start(folder, mock, &more).end();
    let rows = if ended.status.code() == Some(0) { outcomes(folder) } else { Vec::new() };
    (ended, rows)
}

fn run_file(folder: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("r/run.json")).unwrap()).unwrap()
}

#[test]
fn an_alias_nothing_and_a_dated_snapshot_are_taken_and_stand_in_the_columns() {
    for (served, column) in [
        ("openai/{model}", Some("openai/grok-4.3")),
        ("{model}-2026-05-14", Some("grok-4.3-2026-05-14")),
        ("nothing", None),
        ("echo", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mock = mock(Manner { served: served.parse().unwrap(), ..Manner::default() });
        let (ended, rows) = run(folder.path(), &mock, &[]);
        assert_eq!(ended.status.code(), Some(0), "{served}: {}", ended.stderr);
        assert_eq!(rows.len(), RECORDS);
        for row in rows {
            assert_eq!(row.usage.model_requested.as_deref(), Some("grok-4.3"));
            assert_eq!(row.usage.model_served.as_deref(), column, "{served}");
        }
        let models = &run_file(folder.path())["models"];
        assert_eq!(models["requested"]["grok-4.3"], RECORDS, "{models}");
        match column {
            Some(name) => {
                assert_eq!((&models["served"][name], &models["not_disclosed"]), (&RECORDS.into(), &0.into()));
            }
            None => assert_eq!(models["not_disclosed"], RECORDS, "{models}"),
        }
    }
}

#[test]
fn another_model_stops_the_run_at_once_and_the_same_command_goes_on_with_what_was_paid() {
    let folder = tempfile::tempdir().unwrap();
    let mock = mock(Manner { served: "grok-4.7".parse().unwrap(), ..Manner::default() });
    let one_at_a_time = "limits.concurrency=1";
    let (ended, _) = run(folder.path(), &mock, &[one_at_a_time]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    for part in ["grok-4.3 was asked", "grok-4.7 answered", "grok.model", "proposer.on_model_mismatch"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(mock.provider.report().accepted, 1, "at the first answer");
    let (ended, rows) = run(folder.path(), &mock, &[one_at_a_time, "proposer.on_model_mismatch=warn"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("another model answers"), "{}", ended.stderr);
    assert!(rows.iter().all(|row| row.usage.model_served.as_deref() == Some("grok-4.7")));
    assert_eq!(mock.provider.report().accepted, RECORDS as u64, "the first answer was paid for once");
    assert_eq!(run_file(folder.path())["models"]["served"]["grok-4.7"], RECORDS);
}

/// Tokens of prompt and answer of a row, and its cost in ticks.
fn cost(row: &Outcome) -> (u64, u64, Option<u64>) {
    let (prompt, completion) = (row.usage.prompt_tokens.unwrap(), row.usage.completion_tokens.unwrap());
    (prompt, completion, row.usage.cost_usd.map(|usd| Usd::from_f64(usd).ticks()))
}

#[test]
fn what_is_billed_counts_before_the_table_to_the_tick() {
    let table = ["grok.price.input=1.25", "grok.price.output=2.5"];
    for (bill, tier, settings, source, ticks) in [
        (Some("ticks:7:11"), None, &table[..], CostSource::Billed, Some((7, 11))),
        (Some("usd:7:11"), None, &[][..], CostSource::Billed, Some((7, 11))),
        (None, None, &table[..], CostSource::Table, Some((12_500, 25_000))),
        (
            None,
            Some("flex"),
            &[table[0], table[1], "grok.price.flex_factor=0.5"],
            CostSource::Table,
            Some((6_250, 12_500)),
        ),
        (
            None,
            Some("batch"),
            &[table[0], table[1], "grok.price.batch_factor=0.5"],
            CostSource::Table,
            Some((6_250, 12_500)),
        ),
        (None, Some("priority"), &table[..], CostSource::Unknown, None),
        (
            None,
            None,
            &[table[0], table[1], "grok.price.long_from_tokens=10", "grok.price.long_factor=2"],
            CostSource::Table,
            Some((25_000, 50_000)),
        ),
        (None, None, &["grok.model=grok-9"], CostSource::Unknown, None),
        (Some("ticks:7:11"), Some("scale"), &["grok.model=grok-9"], CostSource::Billed, Some((7, 11))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let manner = Manner {
            bill: bill.map(|bill| bill.parse().unwrap()),
            tier: tier.map(str::to_owned),
            ..Manner::default()
        };
        let (ended, rows) = run(folder.path(), &mock(manner), settings);
        assert_eq!(ended.status.code(), Some(0), "{settings:?}: {}", ended.stderr);
        let mut whole = 0;
        for row in &rows {
            let (prompt, completion, paid) = cost(row);
            let expected = ticks.map(|(input, output)| prompt * input + completion * output);
            assert_eq!(
                (paid, row.usage.cost_source),
                (expected, Some(source)),
                "{bill:?} {tier:?} {settings:?}"
            );
            whole += paid.unwrap_or(0);
        }
        let spent = closing(&ended)["cost_usd"].as_f64().map(|usd| Usd::from_f64(usd).ticks());
        assert_eq!(spent, ticks.map(|_| whole), "{settings:?}: the run's sum");
    }
}

#[test]
fn a_bound_is_kept_by_what_is_billed_and_refused_without_a_price() {
    let folder = tempfile::tempdir().unwrap();
    // Ten million ticks a token of the answer: far more than the table says.
    let mock = mock(Manner { bill: Some("ticks:0:10000000".parse().unwrap()), ..Manner::default() });
    let bound = ["limits.concurrency=1", "spend.max_cost_usd=0.01"];
    let (ended, _) = run(folder.path(), &mock, &bound);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("spend.max_cost_usd"), "{}", ended.stderr);
    assert_eq!(mock.provider.report().accepted, 1, "the first bill passes the bound");
    let unpriced = ["grok.model=grok-4-fast-reasoning", "spend.max_cost_usd=1"];
    let (ended, _) = run(tempfile::tempdir().unwrap().path(), &mock, &unpriced);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    for part in ["no price of grok-4-fast-reasoning is known", "grok.price.input", "grok.price.output"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_reply_without_counts_is_estimated_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, rows) = run(folder.path(), &mock(Manner { uncounted: true, ..Manner::default() }), &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for row in rows {
        assert_eq!(row.usage.estimated_tokens, row.usage.total_tokens);
        assert!(row.usage.total_tokens > Some(0) && row.usage.cost_source == Some(CostSource::Table));
    }
}

#[test]
fn doctor_probe_and_estimate_ask_whether_the_provider_has_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let detections = folder.path().join("detections.json");
    corpus(&detections, RECORDS);
    let models = ["grok-4.3=2027-01-14", "grok-4.5"].map(|model| model.parse().unwrap()).to_vec();
    let mock = mock(Manner { models, ..Manner::default() });
    let endpoint = format!("grok.endpoint={}", mock.url);
    let settings = [
        "--set",
        "proposer.mode=grok",
        "--set",
        "guardrails=none",
        "--set",
        "grok.api_key_env=",
        "--set",
        &endpoint,
    ];
    let with = |before: &[&str], after: &[&str]| {
        let arguments = [before, &settings[..], after].concat();
        let output = crate::support::coordinator(&arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, _) = with(&["doctor"], &[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("grok lists grok-4.3, and serves it until 2027-01-14"), "{said}");
    let retired = [
        "--set",
        "grok.model=grok-4-fast-reasoning",
        "--set",
        "grok.price.input=1",
        "--set",
        "grok.price.output=1",
    ];
    let (code, said, _) = with(&["doctor"], &retired);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("does not list") && said.contains("grok-4.5") && said.contains("2026-05-15"),
        "{said}"
    );
    let (code, said, _) =
        with(&["estimate", "--corpus", detections.to_str().unwrap(), "--output", "json"], &[]);
    let estimate: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &estimate["model"]["shutdown_date"]), (Some(0), &"2027-01-14".into()));
    let out = folder.path().join("probe");
    let probe = ["probe", "--steps", "1", "--requests", "1", "--out", out.to_str().unwrap()];
    let (code, _, said) = with(&probe, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("grok lists grok-4.3") && said.contains("do not disclose"), "{said}");
    let nowhere = format!(
        "grok.endpoint=http://127.0.0.1:{}",
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    let (code, said, _) = with(&["doctor"], &["--set", &nowhere]);
    assert!(said.contains("whether grok has grok-4.3 is not known: cannot connect"), "{said}");
    assert_eq!(code, Some(2), "a run would fail as well");
}
