//! Messages made to hurt, through the public decoders and conversions: none panics, and what comes out is within its bounds,
//! whatever stands in a field. `scripts/fuzz` runs the same properties over millions of messages.

use std::time::Duration;

use domain::answer::{Answer, CallOutcome, LONGEST_WAIT};
use domain::budget::Usage;
use domain::record::{Record, SourceDocument};
use domain::run::{Lease, Shard};
use domain::tally::Tally;
use domain::testing::{Inputs, property};
use proptest::prelude::*;
use prost::Message;
use proto::convert::{
    ANSWER_BYTES, AcquireCall, Assembly, CallResult, LeaseKey, PartHeader, RunStatus, StoredRun, Ticket,
    WorkerStatus, config_from_wire, tally_from_wire,
};
use proto::v1;
use proto::v1::call_result::Outcome;

fn number() -> impl Strategy<Value = u64> {
    let extremes = [
        0,
        1,
        u64::from(u32::MAX),
        1 << 53,
        1 << 62,
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    prop_oneof![2 => prop::sample::select(extremes.to_vec()), 1 => any::<u64>()]
}

fn float() -> impl Strategy<Value = f64> {
    let extremes =
        [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308, f64::MIN_POSITIVE];
    prop_oneof![2 => prop::sample::select(extremes.to_vec()), 1 => any::<f64>()]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "", "r", "w", "running", "failed", "stop", "length", "\u{202e}\u{0}\u{1b}[2J", "../../etc/passwd", "{}", "[",
            "{\"records\":18446744073709551615}", "{\"records\":-1}", "{\"reasons\":{\"a\":null}}",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (1..20_000_usize).prop_map(|length| "x".repeat(length)),
        1 => (1..200_usize).prop_map(|depth| "[".repeat(depth)),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => any::<[u8; 32]>().prop_map(Vec::from),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

prop_compose! {
    fn usage()(
        prompt in number(), completion in number(), reasoning in number(), cached in number(), total in number(),
        estimated in number(),
    ) -> v1::Usage {
        v1::Usage { prompt, completion, reasoning, cached, total, estimated }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let answer =
        (text(), text(), prop::option::of(usage()), text()).prop_map(|(content, finish, usage, model)| {
            Outcome::Answer(v1::Answer { content, finish, usage, model, charge: None })
        });
    prop_oneof![
        answer,
        (number(), any::<bool>(), text()).prop_map(|(retry_after_ms, tokens, reason)| Outcome::Throttled(
            v1::Throttled { retry_after_ms, tokens, reason }
        )),
        (text(), any::<bool>(), text(), text()).prop_map(|(reason, stop, kind, model)| Outcome::Failed(
            v1::CallFailed { reason, stop, kind, model }
        )),
        Just(Outcome::Unsent(v1::Unsent {})),
    ]
}

prop_compose! {
    fn call_result()(
        number in number(), run_id in text(), key in bytes(), outcome in prop::option::of(outcome()),
        usage in prop::option::of(usage()), requests in number(), tokens in number(), ticket in bytes(),
        tries in any::<u32>(), last in any::<bool>(),
        charge in prop::option::of((prop::option::of(number()), text())),
    ) -> v1::CallResult {
        v1::CallResult {
            number, run_id, key, outcome, usage, advertised_requests_per_minute: requests,
            advertised_tokens_per_minute: tokens, ticket, tries, last,
            charge: charge.map(|(billed_ticks, tier)| v1::Charge { billed_ticks, tier }),
        }
    }
}

prop_compose! {
    fn acquire_call()(
        number in number(), run_id in text(), key in bytes(), tokens in number(), under_way in any::<bool>(), ticket in bytes(),
    ) -> v1::AcquireCall {
        v1::AcquireCall { number, run_id, key, tokens, under_way, ticket }
    }
}

fn assert_believable(usage: Usage) {
    let Usage { prompt, completion, reasoning, cached, total, estimated } = usage;
    for count in [prompt, completion, reasoning, cached] {
        assert!(count <= Usage::MOST, "{usage:?}");
    }
    assert!(total <= 2 * Usage::MOST && estimated <= total, "{usage:?}");
}

/// What a worker sends about a call can be added up, waited for and stored.
fn assert_bounded(result: &CallResult) {
    assert_believable(result.usage);
    assert!(result.charge.billed.is_none_or(|billed| billed.as_f64() <= 10_000.0));
    match &result.outcome {
        CallOutcome::Answered(Answer { content, usage, model, .. }) => {
            assert_believable(*usage);
            assert!(content.len() <= ANSWER_BYTES && model.chars().count() <= 200);
        }
        CallOutcome::Throttled { retry_after, reason, .. } => {
            assert!(retry_after.is_none_or(|wait| wait <= LONGEST_WAIT));
            assert!(reason.chars().count() <= 1000);
        }
        CallOutcome::Failed { reason, model, .. } => {
            assert!(reason.chars().count() <= 1000 && model.chars().count() <= 200);
        }
        CallOutcome::Unsent => {}
    }
    for limit in [result.advertised_requests, result.advertised_tokens].into_iter().flatten() {
        assert!((1..=1_000_000_000_000).contains(&limit), "{limit}");
    }
}

#[test]
fn what_is_said_of_a_call_is_bounded() {
    property(
        "wire-calls",
        Inputs { usual: 400, share: 15 },
        &(call_result(), acquire_call()),
        |(result, acquire)| {
            if let Ok(result) = CallResult::try_from(result) {
                assert_bounded(&result);
            }
            if let Ok(acquire) = AcquireCall::try_from(acquire) {
                assert!(acquire.tokens <= Usage::MOST);
            }
        },
    );
}

prop_compose! {
    fn run_status()(
        texts in prop::collection::vec(text(), 8), counts in prop::collection::vec(number(), 10),
        rates in prop::collection::vec(float(), 4), usage in usage(),
    ) -> v1::RunStatus {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let hex = "00".repeat(32);
        v1::RunStatus {
            run_id: "r".to_owned(), state: texts[0].clone(), records: counts[0], shard_size: small(counts[1]),
            shards: small(counts[2]), committed: small(counts[3]), leased: small(counts[4]), tally_json: texts[1].clone(),
            workers: small(counts[5]), created_at_ms: counts[6], results: texts[2].clone(), fingerprint: texts[3].clone(),
            corpus_hash: hex.clone(), config_hash: hex, trouble: texts[4].clone(), records_per_s: rates[0],
            model: Some(v1::LlmStatus {
                calls: counts[7], failed: counts[8], throttled: counts[9], calls_per_min: rates[1], limit_per_min: rates[2],
                usage: Some(usage), cost_usd: rates[3], ..v1::LlmStatus::default()
            }),
            judge: Some(v1::JudgeStatus {
                depth: "both".to_owned(), version: "v1.37.2".to_owned(), flags: texts[5].clone(), waits_for: texts[6].clone(),
            }),
        }
    }
}

#[test]
fn what_is_said_of_runs_and_workers_is_bounded() {
    let worker = (text(), number(), float(), number()).prop_map(|(text, count, rate, ms)| v1::WorkerStatus {
        worker: "w".to_owned(),
        version: text.clone(),
        shards: count,
        records: count,
        records_per_s: rate,
        connected_ms: ms,
        silent_ms: ms,
        drained_because: text,
        ..v1::WorkerStatus::default()
    });
    let stored = (text(), number()).prop_map(|(text, count)| v1::StoredRun {
        run_id: "r".to_owned(),
        state: text.clone(),
        records: count,
        created_at_ms: count,
        bytes: count,
        results: text,
    });
    let inputs = (run_status(), worker, stored);
    property("wire-status", Inputs { usual: 200, share: 10 }, &inputs, |(run, worker, stored)| {
        if let Ok(run) = RunStatus::try_from(run) {
            let model = run.model.unwrap();
            for rate in
                [run.records_per_s, model.calls_per_min, model.limit_per_min.unwrap_or(0.0), model.cost_usd]
            {
                assert!(rate.is_finite() && rate >= 0.0, "{rate}");
            }
            assert!(model.usage.total <= 1 << 53);
            let judge = run.judge.unwrap();
            assert!(judge.waits_for.is_none_or(|text| text.chars().count() <= 500));
            assert!(judge.server.unwrap().flags().len() <= 1024);
            // Tallies are added up.
            let mut sum = run.tally.clone();
            sum.add(&run.tally);
            sum.add(&run.tally);
        }
        if let Ok(worker) = WorkerStatus::try_from(worker) {
            assert!(worker.records_per_s.is_finite() && worker.records_per_s >= 0.0);
            assert!(worker.connected <= Duration::from_millis(u64::MAX));
        }
        let _ = StoredRun::try_from(stored);
    });
}

/// Decodes the bytes as each message that an end receives, and converts it.
fn decode_all(bytes: &[u8]) {
    macro_rules! each {
        ($($message:ident => $type:ty,)*) => {
            $(if let Ok(message) = v1::$message::decode(bytes) { let _ = <$type>::try_from(message); })*
        };
    }
    each! {
        LeaseKey => LeaseKey,
        Shard => Shard,
        Lease => Lease,
        CommitHeader => PartHeader,
        AcquireCall => AcquireCall,
        Answer => Answer,
        RunStatus => RunStatus,
        WorkerStatus => WorkerStatus,
        StoredRun => StoredRun,
        Record => Record,
        Document => SourceDocument,
    }
    if let Ok(message) = v1::CallResult::decode(bytes)
        && let Ok(result) = CallResult::try_from(message)
    {
        assert_bounded(&result);
    }
    if let Ok(slice) = v1::Slice::decode(bytes) {
        let mut assembly = Assembly::default();
        let _ = assembly.push(slice);
    }
    for field in ["open.resume", "call_permit.ticket"] {
        let _ = Ticket::from_wire(field, bytes);
    }
    let _ = v1::LlmCallsRequest::decode(bytes);
    let _ = v1::WorkRequest::decode(bytes);
    let _ = v1::CommitShardRequest::decode(bytes);
    let _ = v1::SubmitRequest::decode(bytes);
}

#[test]
fn any_bytes_are_decoded_or_refused() {
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    property("wire-bytes", Inputs { usual: 1000, share: 40 }, &bytes, |bytes| decode_all(&bytes));
}

#[test]
fn a_valid_message_that_is_damaged_is_decoded_or_refused() {
    let message = prop_oneof![
        call_result().prop_map(|message| message.encode_to_vec()),
        run_status().prop_map(|message| message.encode_to_vec()),
        (bytes(), text(), number()).prop_map(|(hash, text, number)| {
            let key =
                v1::LeaseKey { run_id: "r".to_owned(), shard: Some(3), token: number, secret: vec![7; 16] };
            let header = v1::CommitHeader {
                session: vec![7; 16],
                key: Some(key),
                worker: "w".to_owned(),
                part_bytes: number,
                part_hash: hash,
                tally_json: text,
            };
            header.encode_to_vec()
        }),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let inputs = (message, damage, any::<prop::sample::Index>(), any::<bool>());
    property("wire-damaged", Inputs { usual: 200, share: 25 }, &inputs, |(mut bytes, damage, cut, cuts)| {
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if cuts && !bytes.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
        }
        decode_all(&bytes);
    });
}

#[test]
fn any_text_is_a_configuration_and_counts_or_is_refused() {
    property(
        "wire-json",
        Inputs { usual: 200, share: 10 },
        &(text(), domain::testing::json()),
        |(text, json)| {
            let _ = config_from_wire(&text);
            let _ = config_from_wire(&json.to_string());
            for tally in [tally_from_wire(&text), tally_from_wire(&json.to_string())].into_iter().flatten() {
                let mut sum = Tally::default();
                sum.add(&tally);
                sum.add(&tally);
            }
        },
    );
}
