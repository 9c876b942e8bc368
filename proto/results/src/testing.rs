//! Outcomes for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::api_server::SchemaDepth;
use domain::api_server::{ServerAnswer, ServerAnswers, ServerCause, ServerClass};
use domain::budget::CostSource;
use domain::ids::{DocumentHash, RecordId, ShardIndex};
use domain::outcome::{
    Caution, ErrorKind, Fault, GateResult, Gates, ModelUsage, Outcome, Proposal, Status, Timing, ToolRescan,
    Verdict,
};
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::scanner::Scanner;
use proptest::prelude::*;

/// A plain accepted row.
pub(crate) fn outcome(position: u64) -> Outcome {
    let passed = || GateResult { verdict: Verdict::Passed, errors: Vec::new(), ms: Some(0.25) };
    Outcome {
        record_id: RecordId::new(format!("{:03}", position + 1)).unwrap(),
        position,
        shard: ShardIndex(0),
        manifest_path: format!("manifests/{position}.yaml"),
        document: Some(DocumentHash::of(b"document")),
        kind: "Pod".to_owned(),
        namespace: String::new(),
        name: "web".to_owned(),
        policy_id: "no_latest_tag".to_owned(),
        raw_policy_id: "latest-tag".to_owned(),
        source: "rules".to_owned(),
        mode: "rules".to_owned(),
        model: None,
        guardrails: "targeted".to_owned(),
        proposal: Some(Arc::new(Proposal {
            patch: Patch(vec![Op::Remove { path: Pointer::of(["spec"]) }]),
            ..Proposal::default()
        })),
        attempts: 1,
        attempt_errors: Vec::new(),
        status: Status::Accepted,
        gates: Arc::new(Gates {
            apply: passed(),
            policy: passed(),
            safety: passed(),
            schema_before: passed(),
            schema: passed(),
            rescan: passed(),
        }),
        fault: Fault::None,
        new_violations: Vec::new(),
        errors: Vec::new(),
        patched_yaml: Some("kind: Pod\n".into()),
        usage: ModelUsage::default(),
        timing: Timing { schema_ms: Some(0.25), ..Timing::default() },
        worker: "w1".to_owned(),
        attempt: 1,
        error_kind: None,
        schema_depth: Some(SchemaDepth::Embedded),
        server: None,
        published: None,
        tool_rescans: BTreeMap::new(),
    }
}

/// Any outcome that a file can hold.
pub(crate) fn any_outcome() -> impl Strategy<Value = Outcome> {
    let identity = ("[!-~]{1,12}", any::<u64>(), any::<u32>(), any::<String>(), any::<Option<[u8; 32]>>());
    let proposer =
        (prop::option::of(any_proposal()), any::<u32>(), any::<Vec<String>>(), any::<Option<String>>());
    let verifier = (
        prop::sample::select(Status::ALL),
        any_gates(),
        prop::sample::select(Fault::ALL),
        any::<Vec<String>>(),
        any::<Option<String>>(),
    );
    let rest = (
        any_usage(),
        any::<[Option<u32>; 5]>(),
        any::<Option<i64>>(),
        prop::option::of(prop::sample::select(ErrorKind::ALL)),
        any::<Option<String>>(),
        prop::option::of(prop::sample::select(SchemaDepth::ALL.to_vec())),
        prop::option::of(any_server()),
        any_rescans(),
    );
    (identity, proposer, verifier, rest).prop_map(|(identity, proposer, verifier, rest)| {
        let (id, position, shard, word, document) = identity;
        let (proposal, attempts, attempt_errors, model) = proposer;
        let (status, gates, fault, errors, patched) = verifier;
        let (usage, times, started_at_us, error_kind, published, schema_depth, server, tool_rescans) = rest;
        let [queue, propose, llm, verify, total] = times;
        let ms = |value: Option<u32>| value.map(f64::from);
        Outcome {
            record_id: RecordId::new(id).unwrap(),
            position,
            shard: ShardIndex(shard),
            manifest_path: word.clone(),
            document: document.map(DocumentHash::from_bytes),
            kind: word.clone(),
            namespace: word.chars().rev().collect(),
            name: word.clone(),
            policy_id: word.clone(),
            raw_policy_id: word.clone(),
            source: word.clone(),
            mode: word.clone(),
            model,
            guardrails: word.clone(),
            proposal: proposal.map(Arc::new),
            attempts,
            attempt_errors,
            status,
            fault,
            new_violations: errors.iter().rev().cloned().collect(),
            errors,
            patched_yaml: patched.map(Into::into),
            usage,
            timing: Timing {
                queue_ms: ms(queue),
                propose_ms: ms(propose),
                llm_ms: ms(llm),
                verify_ms: ms(verify),
                schema_ms: gates.schema.ms,
                total_ms: ms(total),
                started_at_us,
            },
            gates: Arc::new(gates),
            worker: word,
            attempt: attempts,
            error_kind,
            schema_depth,
            server: server.map(Arc::new),
            published,
            tool_rescans,
        }
    })
}

/// What some scanners say.
fn any_rescans() -> impl Strategy<Value = BTreeMap<Scanner, ToolRescan>> {
    let rescan = (any::<Option<bool>>(), prop::collection::vec("[a-z-]{1,12}", 0..3));
    let rescan = rescan.prop_map(|(cleared, new)| ToolRescan { cleared, new });
    let tool = prop::sample::select(vec![Scanner::KubeLinter, Scanner::Kyverno, Scanner::Checkov]);
    prop::collection::btree_map(tool, rescan, 0..3)
}

fn any_proposal() -> impl Strategy<Value = Proposal> {
    let pointer = || {
        prop::collection::vec(any::<String>(), 0..3)
            .prop_map(|keys| Pointer::of(keys.iter().map(String::as_str)))
    };
    let op = prop_oneof![
        (pointer(), domain::testing::json()).prop_map(|(path, value)| Op::Add { path, value }),
        pointer().prop_map(|path| Op::Remove { path }),
        (pointer(), pointer()).prop_map(|(from, path)| Op::Move { from, path }),
    ];
    let cautions = prop::collection::vec(prop::sample::select(Caution::ALL), 0..3);
    let companions = prop::collection::vec(domain::testing::json(), 0..2);
    (prop::collection::vec(op, 0..4), companions, cautions, any::<u32>(), any::<bool>()).prop_map(
        |(ops, companions, cautions, collateral_ops, hardened)| Proposal {
            patch: Patch(ops),
            companions,
            cautions,
            collateral_ops,
            hardened,
        },
    )
}

fn any_gates() -> impl Strategy<Value = Gates> {
    let gate = || {
        let ran =
            (any::<bool>(), any::<Vec<String>>(), any::<Option<u32>>()).prop_map(|(passed, errors, ms)| {
                GateResult {
                    verdict: if passed { Verdict::Passed } else { Verdict::Failed },
                    errors,
                    ms: ms.map(|ms| f64::from(ms) / 8.0),
                }
            });
        prop_oneof![Just(GateResult::NOT_RUN), ran]
    };
    (gate(), gate(), gate(), gate(), gate(), gate()).prop_map(
        |(apply, policy, safety, schema_before, schema, rescan)| Gates {
            apply,
            policy,
            safety,
            schema_before,
            schema,
            rescan,
        },
    )
}

fn any_server() -> impl Strategy<Value = ServerAnswers> {
    let class = prop::sample::select(vec![ServerClass::Accepted, ServerClass::Invalid, ServerClass::Decode]);
    let cause =
        any::<[String; 3]>().prop_map(|[field, reason, message]| ServerCause { field, reason, message });
    let answer = (class, prop::collection::vec(cause, 0..3))
        .prop_map(|(class, causes)| ServerAnswer { class, causes });
    let answers = (prop::option::of(answer.clone()), prop::option::of(answer));
    (any::<String>(), answers, any::<Vec<String>>(), any::<Option<bool>>()).prop_map(
        |(version, (before, after), warnings, disagrees)| ServerAnswers {
            version,
            before,
            after,
            warnings,
            disagrees,
        },
    )
}

fn any_usage() -> impl Strategy<Value = ModelUsage> {
    let source = prop::option::of(prop::sample::select(CostSource::ALL.to_vec()));
    let words = any::<[Option<String>; 3]>();
    (any::<[Option<u64>; 7]>(), any::<Option<u32>>(), any::<Option<bool>>(), source, words).prop_map(
        |(
            [
                samples,
                samples_passed,
                prompt_tokens,
                completion_tokens,
                reasoning_tokens,
                total_tokens,
                estimated_tokens,
            ],
            cost,
            cache_hit,
            cost_source,
            [model_requested, model_served, answer_form],
        )| ModelUsage {
            samples,
            samples_passed,
            prompt_tokens,
            completion_tokens,
            reasoning_tokens,
            total_tokens,
            estimated_tokens,
            cost_usd: cost.map(|cost| f64::from(cost) / 1e6),
            cost_source,
            model_requested,
            model_served,
            answer_form,
            cache_hit,
        },
    )
}
