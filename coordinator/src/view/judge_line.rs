//! Lines about the API server that judges a run.

use std::fmt::Write as _;

use cli_support::escape::{one_line, visible};
use domain::api_server::SchemaDepth;
use domain::api_server::ServerIdentity;
use proto::convert::RunStatus;
use serde_json::{Value, json};

/// What judges the schema, what it disagrees about and what it waits for; empty where the embedded rules alone judge.
pub(crate) fn lines(status: &RunStatus) -> String {
    let Some(judge) = &status.judge else { return String::new() };
    let mut text = String::new();
    let server = judge.server.as_ref().map_or_else(
        || "an API server".to_owned(),
        |server| format!("API server {}", one_line(&server.to_string())),
    );
    match judge.depth {
        SchemaDepth::Both => {
            let disagreements = status.tally.disagreements;
            let _ = writeln!(
                text,
                "schema by the embedded rules, compared with {server}: {disagreements} records disagree"
            );
        }
        _ => {
            let _ = writeln!(text, "schema by {server}");
        }
    }
    for one in &status.tally.disagreeing {
        let _ = writeln!(text, "    {}: {}", visible(one.record.as_str()), one_line(&one.message));
    }
    text
}

/// What a run waits for; `None`: its records do not wait for a server.
pub(crate) fn wait(status: &RunStatus) -> Option<&str> {
    status.judge.as_ref().and_then(|judge| judge.waits_for.as_deref())
}

/// The keys about the server in a JSON summary and status; null where the embedded rules alone judge.
pub(crate) fn json(status: &RunStatus) -> Value {
    let Some(judge) = &status.judge else { return Value::Null };
    let examples = status.tally.disagreeing.iter();
    let examples: Vec<Value> =
        examples.map(|one| json!({"record": one.record.as_str(), "message": one.message})).collect();
    let both = judge.depth == SchemaDepth::Both;
    json!({
        "depth": judge.depth.as_str(),
        "server_version": judge.server.as_ref().map(ServerIdentity::version),
        "server_flags": judge.server.as_ref().map(ServerIdentity::flags),
        "waits_for": judge.waits_for,
        "disagreements": both.then_some(status.tally.disagreements),
        "disagreeing": both.then_some(examples),
    })
}

#[cfg(test)]
mod tests {
    use domain::ids::RecordId;
    use domain::run::RunState;
    use domain::tally::Disagreement;
    use proto::convert::JudgeStatus;

    use super::*;
    use crate::view::status_table::tests::run;

    #[test]
    fn disagreements_are_said_with_examples() {
        let mut status = run("r", RunState::Running, 1000);
        assert_eq!((lines(&status), json(&status)), (String::new(), Value::Null));
        let server = ServerIdentity::new("v1.37.2", "ServiceAccount=off").unwrap();
        let waits_for = Some("it cannot be reached".to_owned());
        status.judge = Some(JudgeStatus { depth: SchemaDepth::Both, server: Some(server), waits_for });
        status.tally.disagreements = 7;
        status.tally.disagreeing = vec![Disagreement {
            position: 3,
            record: RecordId::new("004").unwrap(),
            message: "the server refuses the document: \u{1b}[2J".to_owned(),
        }];
        assert_eq!(
            lines(&status),
            "schema by the embedded rules, compared with API server v1.37.2: 7 records disagree\n    \
             004: the server refuses the document: \\u{1b}[2J\n"
        );
        assert_eq!(wait(&status), Some("it cannot be reached"));
        assert_eq!(json(&status)["disagreements"], 7);
        let judge = JudgeStatus { depth: SchemaDepth::Server, server: None, waits_for: None };
        let status = RunStatus { judge: Some(judge), ..run("r", RunState::Running, 0) };
        assert_eq!(lines(&status), "schema by an API server\n");
        assert_eq!(json(&status)["disagreements"], Value::Null, "not compared");
    }
}
