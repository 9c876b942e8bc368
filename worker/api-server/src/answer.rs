//! From the answer of a server to a verdict: the class, the causes.
//!
//! *Invariant*: the classes are those of the recorded verdicts, decided in the same way.

use domain::api_server::{ServerCause, ServerClass, ServerVerdict};

use crate::transport::{Reply, cut};

/// Causes of one verdict that are kept.
const MOST_CAUSES: usize = 500;

const STRICT: &str = "strict decoding error: ";

/// The verdict that an answer is.
pub(crate) fn verdict(reply: &Reply) -> ServerVerdict {
    let status = &reply.status;
    let message = status.message();
    let mut causes: Vec<ServerCause> = Vec::new();
    let class = match reply.code {
        200..=299 => ServerClass::Accepted,
        400 => match message.split_once(STRICT) {
            Some((_, fields)) => {
                causes = strict_causes(fields);
                ServerClass::StrictDecoding
            }
            // What YAML itself does not allow; everything else is a value of the wrong type or form.
            None if message.contains("the object provided is unrecognized") => ServerClass::Unparsable,
            None => ServerClass::Decode,
        },
        403 if message.contains("because it is being terminated") => ServerClass::Namespace,
        403 => ServerClass::Environment,
        404 if message.starts_with("namespaces \"") => ServerClass::Namespace,
        409 if status.reason.as_deref() == Some("AlreadyExists") => ServerClass::Conflict,
        422 => {
            causes = status.causes().iter().take(MOST_CAUSES).map(cause).collect();
            let elsewhere = !causes.is_empty() && causes.iter().all(is_of_this_server);
            if elsewhere { ServerClass::Environment } else { ServerClass::Invalid }
        }
        500 if message.contains("failed calling webhook") => ServerClass::Environment,
        _ => ServerClass::Other,
    };
    let message = (causes.is_empty() && class != ServerClass::Accepted).then(|| cut(message));
    ServerVerdict { class, code: reply.code, causes, message, warnings: reply.warnings.clone() }
}

fn cause(cause: &crate::transport::StatusCause) -> ServerCause {
    ServerCause { field: cut(&cause.field), reason: cut(&cause.reason), message: cut(&cause.message) }
}

/// Whether a cause is the range of addresses or ports that a server was started with, or what is taken there.
fn is_of_this_server(cause: &ServerCause) -> bool {
    ["is not in the valid range", "provided port is already allocated", "provided IP is already allocated"]
        .iter()
        .any(|words| cause.message.contains(words))
}

/// The fields that strict decoding names. YAML finds a key that is written twice, JSON says the same in other words.
fn strict_causes(text: &str) -> Vec<ServerCause> {
    const UNKNOWN: &str = "unknown field ";
    const DUPLICATE: &str = "duplicate field ";
    const KEY: &str = "key ";
    const TWICE: &str = " already set in map";
    let mut causes = Vec::new();
    let mut rest = text;
    while causes.len() < MOST_CAUSES {
        let next = [UNKNOWN, DUPLICATE, KEY]
            .into_iter()
            .filter_map(|words| rest.find(&format!("{words}\"")).map(|at| (at, words)))
            .min();
        let Some((at, words)) = next else { break };
        let Some((field, after)) = go_quoted(&rest[at + words.len()..]) else { break };
        rest = after;
        let (reason, message) = match words {
            UNKNOWN => ("unknown_field", "unknown field"),
            DUPLICATE => ("duplicate_key", "duplicate field"),
            _ if rest.starts_with(TWICE) => ("duplicate_key", "key already set in map"),
            _ => continue,
        };
        causes.push(ServerCause {
            field: cut(&field),
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
    }
    causes
}

/// A text in Go's quotes at the start of `text`, and what follows it.
fn go_quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let mut field = String::new();
    for (at, character) in inner.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return inner.get(at + 1..).map(|after| (field, after)),
            other => {
                if escaped && !matches!(other, '"' | '\\') {
                    field.push('\\');
                }
                field.push(other);
                escaped = false;
            }
        }
    }
    None
}

/// How bad a class is, when the verdict on a List is the worst of its entries'.
pub(crate) const fn badness(class: ServerClass) -> u8 {
    match class {
        ServerClass::Accepted => 0,
        ServerClass::Conflict => 1,
        ServerClass::Environment => 2,
        ServerClass::Namespace => 3,
        ServerClass::UnknownKind => 4,
        ServerClass::Other => 5,
        ServerClass::Invalid => 6,
        ServerClass::StrictDecoding => 7,
        ServerClass::Decode => 8,
        ServerClass::Unparsable => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, status: &str) -> ServerVerdict {
        let status = serde_json::from_str(status).expect("a status");
        verdict(&Reply { code, warnings: Vec::new(), body: Vec::new(), status })
    }

    fn class(code: u16, reason: &str, message: &str) -> ServerClass {
        let status = serde_json::json!({"kind": "Status", "reason": reason, "message": message});
        answered(code, &status.to_string()).class
    }

    #[test]
    fn classes_follow_code_reason_and_message() {
        let cases = [
            (201, "", "", ServerClass::Accepted),
            (409, "AlreadyExists", "namespaces \"a\" already exists", ServerClass::Conflict),
            (409, "Conflict", "the object has been modified", ServerClass::Other),
            (
                400,
                "BadRequest",
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
                ServerClass::Decode,
            ),
            (
                400,
                "BadRequest",
                "the object provided is unrecognized (must be of type Pod): yaml: line 4: found character",
                ServerClass::Unparsable,
            ),
            (404, "NotFound", "namespaces \"{{ .ns }}\" not found", ServerClass::Namespace),
            (404, "NotFound", "the server could not find the requested resource", ServerClass::Other),
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: no PriorityClass with name x was found",
                ServerClass::Environment,
            ),
            (
                403,
                "Forbidden",
                "unable to create new content in namespace a because it is being terminated",
                ServerClass::Namespace,
            ),
            (
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
                ServerClass::Other,
            ),
            (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"a\"",
                ServerClass::Environment,
            ),
            (500, "InternalError", "Internal error occurred", ServerClass::Other),
        ];
        for (code, reason, message, expected) in cases {
            assert_eq!(class(code, reason, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn a_refusal_of_this_servers_ranges_alone_is_of_the_environment() {
        let range = r#"{"field": "spec.clusterIPs", "reason": "FieldValueInvalid", "message": "Invalid value: [\"10.3.0.1\"]: failed to allocate IP 10.3.0.1: the provided IP (10.3.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12"}"#;
        let own =
            r#"{"field": "spec.type", "reason": "FieldValueNotSupported", "message": "Unsupported value"}"#;
        let of = |causes: &str| {
            answered(
                422,
                &format!(r#"{{"kind": "Status", "message": "x", "details": {{"causes": [{causes}]}}}}"#),
            )
        };
        assert_eq!(of(range).class, ServerClass::Environment);
        assert_eq!(of(&format!("{range}, {own}")).class, ServerClass::Invalid);
        assert_eq!(of("").class, ServerClass::Invalid);
        assert_eq!(of("").message.as_deref(), Some("x"), "the message stands where there are no causes");
        assert_eq!(of(own).message, None);
    }

    #[test]
    fn strict_decoding_names_each_field() {
        let status = r#"{"kind": "Status", "message": "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: yaml: unmarshal errors:\n  line 3: key \"kind\" already set in map, unknown field \"spec.a.b\", unknown field \"metadata.\\\"x\\\"\", duplicate field \"c\""}"#;
        let found = answered(400, status);
        let fields: Vec<_> =
            found.causes.iter().map(|cause| (cause.field.as_str(), cause.reason.as_str())).collect();
        let expected = [
            ("kind", "duplicate_key"),
            ("spec.a.b", "unknown_field"),
            ("metadata.\"x\"", "unknown_field"),
            ("c", "duplicate_key"),
        ];
        assert_eq!(fields, expected);
        assert_eq!((found.class, found.message), (ServerClass::StrictDecoding, None));
    }

    #[test]
    fn a_strict_message_that_ends_within_a_field_is_no_fault() {
        assert_eq!(strict_causes("unknown field \"a"), []);
        assert_eq!(strict_causes("key \"a\" was odd, unknown field \"b\"").len(), 1);
    }
}
