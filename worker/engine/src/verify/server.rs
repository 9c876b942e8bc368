//! Gate *schema*, at its server depth: what an API server answered decides, or is compared with the embedded verdict. The
//! answers are handed in.

use domain::api_server::KubernetesRelease;
use domain::api_server::SchemaDepth;
use domain::api_server::{ServerAnswer, ServerClass};
use domain::config::VerifierConfig;
use domain::outcome::{Fault, GateResult, Gates, Verdict};

use super::gates::{Before, Verification, fault};
use super::server_result::ServerResult;
use crate::document::Document;

/// Adds the server's answer about the unpatched document, which took `ms`.
pub fn judge_before(before: &mut Before, mut result: ServerResult, depth: SchemaDepth, ms: f64) {
    match depth {
        SchemaDepth::Embedded => return,
        SchemaDepth::Server => before.schema = decided(&before.schema, result.answer.errors()),
        SchemaDepth::Both => result.disagrees = disagrees(&before.schema, [&result.answer]),
    }
    add_ms(&mut before.schema, ms);
    before.server = Some(result);
}

/// Adds the server's answers about the companions of a repair, in their order, and about its patched document; they took
/// `ms` together. `document`: the unpatched one.
pub fn judge_after(
    verification: &mut Verification,
    document: &Document,
    verifier: &VerifierConfig,
    companions: &[ServerResult],
    mut patched: ServerResult,
    ms: f64,
) {
    match verifier.depth {
        SchemaDepth::Embedded => return,
        SchemaDepth::Both => {
            let answers = std::iter::once(&patched.answer).chain(companions.iter().map(|of| &of.answer));
            patched.disagrees = disagrees(&verification.gates.schema, answers);
        }
        SchemaDepth::Server => {
            let companions: Vec<_> = companions.iter().map(|companion| &companion.answer).collect();
            verification.fault =
                decide(&mut verification.gates, document, &companions, &patched.answer, verifier.kubernetes);
        }
    }
    add_ms(&mut verification.gates.schema, ms);
    verification.server = Some(patched);
}

/// Puts the answers about the companions of a repair and about its patched document in the place of the embedded schema
/// gate, and assigns the fault of all gates. `document`: the unpatched one; `release`: whose rules tell which errors it had
/// behind others.
pub fn decide(
    gates: &mut Gates,
    document: &Document,
    companions: &[&ServerAnswer],
    patched: &ServerAnswer,
    release: KubernetesRelease,
) -> Fault {
    let errors = |counts: fn(&ServerAnswer) -> bool| -> Vec<String> {
        let of_companions =
            companions.iter().filter(|answer| counts(answer)).flat_map(|answer| answer.errors());
        let of_companions = of_companions.map(|error| format!("companion: {error}"));
        let of_patched = if counts(patched) { patched.errors() } else { Vec::new() };
        of_patched.into_iter().chain(of_companions).collect()
    };
    // What this server lacks says nothing of the patch: it decides the fault where nothing else was refused.
    let embedded = std::mem::replace(
        &mut gates.schema,
        GateResult::from_errors(errors(|answer| !answer.class.is_environment())),
    );
    let own = fault(gates, document, release);
    gates.schema = decided(&embedded, errors(|_| true));
    match own {
        Fault::None if gates.schema.verdict == Verdict::Failed => Fault::Environment,
        own => own,
    }
}

/// The gate as the server decides it.
fn decided(embedded: &GateResult, errors: Vec<String>) -> GateResult {
    GateResult { ms: embedded.ms, ..GateResult::from_errors(errors) }
}

fn add_ms(gate: &mut GateResult, ms: f64) {
    gate.ms = Some(gate.ms.unwrap_or(0.0) + ms);
}

/// Whether the server contradicts the embedded verdict. An answer that says more of the server than of the document is not
/// compared, nor is an embedded gate without a verdict.
fn disagrees<'a>(embedded: &GateResult, answers: impl IntoIterator<Item = &'a ServerAnswer>) -> Option<bool> {
    if embedded.verdict == Verdict::NotRun {
        return None;
    }
    let mut accepts = true;
    for answer in answers {
        if answer.class.is_environment() || answer.class == ServerClass::Other {
            return None;
        }
        accepts &= answer.class.accepts();
    }
    Some(accepts != (embedded.verdict == Verdict::Passed))
}

#[cfg(test)]
mod tests {
    use domain::api_server::{ServerCause, ServerVerdict};
    use domain::config::RunConfig;
    use domain::outcome::Proposal;
    use domain::patch::{Op, Patch};
    use domain::pointer::Pointer;
    use domain::policy::{PolicyId, PolicyName};
    use domain::record::Neighbours;

    use super::*;
    use crate::verify::{Candidate, examine, verify};

    fn answered(class: ServerClass, causes: &[(&str, &str)]) -> ServerResult {
        let cause = |(field, message): &(&str, &str)| ServerCause {
            field: (*field).to_owned(),
            reason: "FieldValueInvalid".to_owned(),
            message: (*message).to_owned(),
        };
        let causes = causes.iter().map(cause).collect();
        let verdict = ServerVerdict { class, code: 0, causes, message: None, warnings: Vec::new() };
        ServerResult::new("v1.37.2".into(), &verdict)
    }

    /// The verification of the repair of a privileged pod, with what the server answered about it before and after.
    fn judged(depth: SchemaDepth, before: ServerResult, after: ServerResult) -> (Before, Verification) {
        let document = crate::testing::document(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: 'b:1', securityContext: \
             {privileged: true}}]}\n",
        );
        let (config, neighbours) = (RunConfig::default(), Neighbours::Unknown);
        let mut found = examine(&document, &neighbours, &config, &|| 0.0);
        judge_before(&mut found, before, depth, 2.0);
        let privileged = Pointer::of(["spec", "containers", "0", "securityContext", "privileged"]);
        let patch = Patch(vec![Op::Replace { path: privileged, value: false.into() }]);
        let proposal = Proposal { patch, ..Proposal::default() };
        let policy = PolicyName::Known(PolicyId::NoPrivileged);
        let candidate = Candidate {
            document: &document,
            neighbours: &neighbours,
            before: &found,
            policy: &policy,
            proposal: &proposal,
        };
        let mut verification = verify(candidate, &config, &|| 0.0);
        assert!(verification.accepted(), "{verification:?}");
        let verifier = VerifierConfig { depth, ..VerifierConfig::default() };
        judge_after(&mut verification, &document, &verifier, &[], after, 3.0);
        (found, verification)
    }

    #[test]
    fn the_server_decides_at_its_depth() {
        let refused = || answered(ServerClass::Invalid, &[("spec.x", "Invalid value: 1: no")]);
        let accepted = || answered(ServerClass::Accepted, &[]);
        for (before, after, fault) in [
            (accepted(), accepted(), Fault::None),
            (refused(), accepted(), Fault::None),
            (refused(), refused(), Fault::Document),
            (accepted(), refused(), Fault::Patch),
            (accepted(), answered(ServerClass::Namespace, &[("", "no such namespace")]), Fault::Environment),
            (accepted(), answered(ServerClass::Conflict, &[]), Fault::None),
        ] {
            let said = format!("{before:?} {after:?}");
            let valid = before.answer.class.accepts();
            let (found, verification) = judged(SchemaDepth::Server, before, after.clone());
            assert_eq!(verification.fault, fault, "{said}");
            assert_eq!(found.schema.verdict == Verdict::Passed, valid, "{said}");
            assert_eq!(found.schema.ms, Some(2.0));
            assert_eq!(verification.accepted(), after.answer.class.accepts(), "{said}");
            assert_eq!(verification.gates.schema.errors, after.answer.errors());
            assert_eq!(verification.server.and_then(|server| server.disagrees), None);
        }
    }

    #[test]
    fn what_the_server_lacks_is_the_fault_only_where_nothing_else_is_refused() {
        let document = crate::testing::document("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n");
        let lacking = answered(ServerClass::Namespace, &[("", "no such namespace")]).answer;
        let accepted = answered(ServerClass::Accepted, &[]).answer;
        let refused = answered(ServerClass::Invalid, &[("spec.x", "Invalid value: 1: no")]).answer;
        let judge = |before: &ServerAnswer, companion: &ServerAnswer, after: &ServerAnswer| {
            let mut gates =
                Gates { schema_before: decided(&GateResult::NOT_RUN, before.errors()), ..Gates::NOT_RUN };
            (
                decide(&mut gates, &document, &[companion], after, KubernetesRelease::NEWEST),
                gates.schema.errors.len(),
            )
        };
        assert_eq!(judge(&accepted, &accepted, &accepted), (Fault::None, 0));
        assert_eq!(judge(&accepted, &lacking, &lacking), (Fault::Environment, 2));
        assert_eq!(judge(&accepted, &lacking, &accepted), (Fault::Environment, 1));
        assert_eq!(judge(&accepted, &lacking, &refused), (Fault::Patch, 2));
        assert_eq!(judge(&refused, &lacking, &refused), (Fault::Document, 2));
        assert_eq!(judge(&refused, &refused, &lacking), (Fault::Patch, 2), "a companion is the patch's");
        assert_eq!(judge(&accepted, &refused, &accepted), (Fault::Patch, 1));
    }

    #[test]
    fn with_both_the_embedded_rules_decide_and_disagreements_are_noted() {
        let refused = answered(ServerClass::Invalid, &[("spec.x", "Invalid value: 1: no")]);
        let accepted = answered(ServerClass::Accepted, &[]);
        let elsewhere = answered(ServerClass::Namespace, &[]);
        for (before, after, disagree) in [
            (&accepted, &accepted, (Some(false), Some(false))),
            (&refused, &accepted, (Some(true), Some(false))),
            (&accepted, &refused, (Some(false), Some(true))),
            (&elsewhere, &elsewhere, (None, None)),
        ] {
            let (found, verification) = judged(SchemaDepth::Both, before.clone(), after.clone());
            assert!(verification.accepted(), "the embedded rules decide");
            assert_eq!(found.schema.verdict, Verdict::Passed);
            let of = |result: Option<ServerResult>| result.and_then(|result| result.disagrees);
            assert_eq!((of(found.server), of(verification.server)), disagree);
        }
        let (found, verification) = judged(SchemaDepth::Embedded, accepted, refused);
        assert!(found.server.is_none() && verification.server.is_none() && verification.accepted());
    }
}
