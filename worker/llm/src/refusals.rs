//! What tells the failures of a prompt, of the account and of the moment apart: a table of what providers answer.
//!
//! The first row that fits decides. Where none does, the status does ([`kind`]); a 4xx that no row knows is
//! [`FailureKind::Unknown`], and ends a run only when it happens to several questions in a row.

use domain::answer::FailureKind;

use crate::error::{Failure, Refusal};

/// One row of the table.
#[derive(Debug)]
struct Row {
    /// Where the answer was seen; for readers alone. Gateways pass the answers of others on.
    #[cfg_attr(not(test), expect(dead_code, reason = "says where the words come from"))]
    provider: &'static str,
    /// HTTP status codes; empty: any, and an error with status 200.
    statuses: &'static [u16],
    /// The provider's codes, without regard to case.
    codes: &'static [&'static str],
    /// Words of the message or the code, in lower case; `*` stands for anything between. A row without codes and words fits
    /// every answer with its status.
    words: &'static [&'static str],
    kind: FailureKind,
}

const PROMPT: FailureKind = FailureKind::Prompt;
const PASSING: FailureKind = FailureKind::Passing;
const KEY: FailureKind = FailureKind::Key;
const ACCOUNT: FailureKind = FailureKind::Account;

const ROWS: &[Row] = &[
    // Refused for its content.
    Row {
        provider: "xAI",
        statuses: &[400, 403, 422],
        codes: &[],
        words: &["violates usage guidelines", "safety_check"],
        kind: PROMPT,
    },
    Row {
        provider: "OpenAI, Azure",
        statuses: &[400, 403, 422],
        codes: &[
            "content_policy_violation",
            "content_filter",
            "responsibleaipolicyviolation",
            "invalid_prompt",
        ],
        words: &[
            "content management policy",
            "content_filter",
            "flagged as potentially violating",
            "safety system",
        ],
        kind: PROMPT,
    },
    Row {
        provider: "OpenRouter, Anthropic, Gemini",
        statuses: &[400, 403, 422],
        codes: &["prohibited_content"],
        words: &["input was flagged", "content filtering policy", "blocked*safety", "prohibited_content"],
        kind: PROMPT,
    },
    Row {
        provider: "Z.ai, Qwen",
        statuses: &[],
        codes: &["1301", "data_inspection_failed"],
        words: &["sensitive content", "unsafe or sensitive", "inappropriate content"],
        kind: PROMPT,
    },
    // Too long.
    Row {
        provider: "OpenAI, xAI, vLLM, Anthropic, Gemini, Z.ai, llama.cpp",
        statuses: &[400, 413, 422, 429, 500],
        codes: &["context_length_exceeded", "string_above_max_length", "1261", "exceed_context_size_error"],
        words: &[
            "context length",
            "context window",
            "context size",
            "maximum prompt length",
            "prompt is too long",
            "input is too long",
            "prompt exceeds max length",
            "input token count*exceeds",
            "request too large",
            "reduce the length of",
        ],
        kind: PROMPT,
    },
    Row { provider: "proxies", statuses: &[413], codes: &[], words: &[], kind: PROMPT },
    // A limit by the minute or the day, in words that resemble those of an account without credit.
    Row {
        provider: "Gemini",
        statuses: &[429],
        codes: &["resource_exhausted"],
        words: &["retry in ", "try again in "],
        kind: PASSING,
    },
    // No credit.
    Row { provider: "DeepSeek, OpenRouter", statuses: &[402], codes: &[], words: &[], kind: ACCOUNT },
    Row {
        provider: "OpenAI",
        statuses: &[400, 403, 429],
        codes: &[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "account_deactivated",
        ],
        words: &[
            "insufficient_quota",
            "check your plan and billing",
            "account is not active",
            "billing hard limit",
        ],
        kind: ACCOUNT,
    },
    Row {
        provider: "xAI",
        statuses: &[403, 429],
        codes: &[],
        words: &[
            "used all available credits",
            "spending limit",
            "purchase more credits",
            "doesn't have any credits",
        ],
        kind: ACCOUNT,
    },
    Row {
        provider: "Z.ai, Moonshot, DeepSeek, Anthropic",
        statuses: &[],
        codes: &["1113", "exceeded_current_quota_error"],
        words: &[
            "insufficient balance",
            "insufficient credit",
            "credit balance",
            "please recharge",
            "arrearage",
        ],
        kind: ACCOUNT,
    },
    // A wrong key.
    Row {
        provider: "OpenAI, xAI, Gemini, Groq, Mistral",
        statuses: &[400, 401, 403, 404],
        codes: &["invalid_api_key", "api_key_invalid", "1000", "1001", "1002", "1003"],
        words: &[
            "incorrect api key",
            "invalid api key",
            "invalid*api key",
            "api key*invalid",
            "api key not valid",
            "api key expired",
            "api key not found",
            "no api key",
            "api key*missing",
            "missing*api key",
            "api key is required",
            "didn't provide an api key",
            "no auth credentials",
            "invalid x-api-key",
            "api_key",
            "invalid subscription key",
        ],
        kind: KEY,
    },
    // An unknown model.
    Row {
        provider: "OpenAI, xAI, vLLM, Groq, Gemini, Z.ai, OpenRouter, DeepSeek",
        statuses: &[400, 403, 404, 422],
        codes: &[
            "model_not_found",
            "invalid_model",
            "model_not_available",
            "model_decommissioned",
            "1211",
            "deploymentnotfound",
        ],
        words: &[
            "model not found",
            "model*not found",
            "model*does not exist",
            "model not exist",
            "unknown model",
            "invalid model",
            "not a valid model",
            "no such model",
            "model*has been decommissioned",
            "model*is deprecated",
            "no endpoints found",
            "does not have access to model",
            "models/*is not found",
        ],
        kind: ACCOUNT,
    },
    // A parameter that the model refuses in every call.
    Row {
        provider: "OpenAI, xAI, DeepSeek, Groq, Mistral",
        statuses: &[400, 422],
        codes: &["unsupported_value", "unsupported_parameter", "unknown_parameter", "1210"],
        words: &[
            "unsupported value",
            "unsupported parameter",
            "argument not supported",
            "argument*not supported",
            "parameter*not supported",
            "unrecognized request argument",
            "unknown parameter",
            "extra inputs are not permitted",
            "response_format*unavailable",
            "response_format*not support",
            "not support*response_format",
            "not support*response format",
            "response format*not support",
            "not support*json_schema",
            "not support*json schema",
            "invalid schema for response_format",
            "invalid_json_schema",
            "structured output*not support",
            "not support*structured output",
            "text.format*not support",
            "strict*not support",
            "failed to parse grammar",
            "response_format type must be one of",
            "parser generation failed*json schema",
        ],
        kind: ACCOUNT,
    },
    Row { provider: "proxies", statuses: &[407], codes: &[], words: &[], kind: ACCOUNT },
];

impl Row {
    fn fits(&self, status: Option<u16>, code: &str, words: &str) -> bool {
        let by_status =
            self.statuses.is_empty() || status.is_some_and(|status| self.statuses.contains(&status));
        let plain = self.codes.is_empty() && self.words.is_empty();
        by_status
            && (plain
                || self.codes.contains(&code)
                || self.words.iter().any(|pattern| contains(words, pattern) || contains(code, pattern)))
    }
}

/// Whether `text` has the parts of `pattern` between its `*`, in this order.
fn contains(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// What a failure belongs to.
pub fn kind(failure: &Failure) -> FailureKind {
    match failure {
        Failure::Connect { reason, .. } if reason.to_ascii_lowercase().contains("certificate") => ACCOUNT,
        // Garbage: a truncated body, or the words of a proxy; the next one may be complete.
        Failure::Connect { .. } | Failure::Timeout(_) | Failure::Reset(_) | Failure::Garbage(_) => PASSING,
        Failure::OtherFormat(_) => FailureKind::Unknown,
        Failure::TooLarge { .. } | Failure::CutOff | Failure::Empty { .. } | Failure::Withheld { .. } => {
            PROMPT
        }
        // Every call would be sent elsewhere.
        Failure::Redirected { .. } | Failure::RedirectLoop { .. } => ACCOUNT,
        Failure::Refused(Refusal { status, code, words }) => {
            let lower = |text: &str| text.to_ascii_lowercase();
            let (code, words) = (lower(code.as_deref().unwrap_or_default()), lower(words));
            let row = ROWS.iter().find(|row| row.fits(*status, &code, &words));
            row.map_or_else(|| by_status(*status), |row| row.kind)
        }
    }
}

fn by_status(status: Option<u16>) -> FailureKind {
    match status {
        // An error with status 200, and no word that is known.
        None | Some(408 | 409 | 425 | 429 | 500 | 502..=504 | 506..=599) => PASSING,
        Some(_) => FailureKind::Unknown,
    }
}

/// Whether a failure that every call would share is about the form of answers that was asked for, so that a weaker form helps.
pub fn is_about_form(failure: &Failure) -> bool {
    let Failure::Refused(Refusal { code, words, .. }) = failure else { return false };
    let text = format!("{} {words}", code.as_deref().unwrap_or_default()).to_ascii_lowercase();
    let about =
        ["response_format", "response format", "json_schema", "json schema", "json_object", "text.format"];
    let also = ["structured output", "strict", "grammar"];
    kind(failure) == ACCOUNT && about.iter().chain(&also).any(|word| text.contains(word))
}

/// What to do about a failure that ends a run, for its message.
pub fn advice(failure: &Failure) -> &'static str {
    let kind = kind(failure);
    match failure {
        Failure::Redirected { .. } | Failure::RedirectLoop { .. } => {
            return "set the endpoint of the provider";
        }
        Failure::Connect { .. } if kind == ACCOUNT => {
            return "the certificate of the endpoint is not trusted: check the endpoint, or a proxy between";
        }
        _ => {}
    }
    let text = failure.to_string().to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match kind {
        KEY => "check the API key in the environment variable that api_key_env names",
        ACCOUNT
            if has(&[
                "answered 402",
                "credit",
                "quota",
                "balance",
                "billing",
                "spending",
                "recharge",
                "active",
            ]) =>
        {
            "the account has no credit: add some, or raise its limit, at the provider"
        }
        ACCOUNT if has(&["answered 407"]) => "check the proxy and its credentials",
        ACCOUNT if has(&["temperature"]) => {
            "set proposer.temperature to what the model takes, or to auto to leave it out"
        }
        ACCOUNT if has(&["format", "json"]) => "set proposer.answer_form to json_object or text",
        ACCOUNT if has(&["max_completion_tokens"]) => {
            "set proposer.max_tokens_as to max_completion_tokens, or proposer.max_tokens to 0 to leave it out"
        }
        ACCOUNT if has(&["max_tokens"]) => "set proposer.max_tokens to 0 to leave it out",
        ACCOUNT if has(&["reasoning"]) => {
            "set proposer.reasoning_effort to what the model takes, or to nothing"
        }
        ACCOUNT if has(&["service_tier"]) => "set proposer.service_tier to null to leave it out",
        ACCOUNT if has(&["seed"]) => "set proposer.seed to null to leave it out",
        ACCOUNT if has(&["model"]) && !has(&["argument", "parameter"]) => {
            "set the model of the provider to one that it has"
        }
        ACCOUNT => "change the setting that the provider refuses",
        _ => "see what the provider says",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, words: &str) -> FailureKind {
        kind(&Failure::refused(status, code, words))
    }

    /// What providers answer, as reported by their users.
    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn answers_of_providers_have_a_kind() {
        use FailureKind::{Account, Key, Passing, Prompt, Unknown};
        let seen: &[(u16, &str, &str, FailureKind)] = &[
            (
                403,
                "The caller does not have permission",
                "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
                Prompt,
            ),
            (
                400,
                "content_policy_violation",
                "Your request was rejected as a result of our safety system.",
                Prompt,
            ),
            (
                400,
                "content_filter",
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                Prompt,
            ),
            (
                400,
                "invalid_prompt",
                "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
                Prompt,
            ),
            (403, "403", "Your chosen model requires moderation and your input was flagged", Prompt),
            (
                400,
                "1301",
                "System detected potentially unsafe or sensitive content in input or generation.",
                Prompt,
            ),
            (400, "data_inspection_failed", "Input data may contain inappropriate content.", Prompt),
            (400, "", "Output blocked by content filtering policy", Prompt),
            (400, "context_length_exceeded", "", Prompt),
            (
                400,
                "400",
                "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
                Prompt,
            ),
            (
                400,
                "",
                "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
                Prompt,
            ),
            (400, "invalid_request_error", "prompt is too long: 209000 tokens > 200000 maximum", Prompt),
            (
                400,
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                Prompt,
            ),
            (
                400,
                "exceed_context_size_error",
                "request (12031 tokens) exceeds the available context size (4096 tokens), try increasing it",
                Prompt,
            ),
            (413, "", "Request Entity Too Large", Prompt),
            (
                413,
                "rate_limit_exceeded",
                "Request too large for model llama on tokens per minute (TPM): Limit 6000, Requested 9000",
                Prompt,
            ),
            (
                429,
                "rate_limit_exceeded",
                "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 34000.",
                Prompt,
            ),
            (
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details. Please retry in 2.51s.",
                Passing,
            ),
            (
                429,
                "429",
                "You exceeded your current quota, please check your plan and billing details. Please retry in 2.51s.",
                Passing,
            ),
            (
                429,
                "rate_limit_exceeded",
                "Rate limit reached for gpt-4o in organization o on requests per min. Please try again in 120ms.",
                Passing,
            ),
            (429, "1302", "High concurrency usage of this API", Passing),
            (429, "", "slow down", Passing),
            (
                429,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
                Account,
            ),
            (429, "1113", "Insufficient balance or no resource package. Please recharge.", Account),
            (
                429,
                "Some resource has been exhausted",
                "Your team 0000 has either used all available credits or reached its monthly spending limit.",
                Account,
            ),
            (402, "", "Insufficient Balance", Account),
            (402, "402", "This request requires more credits, or fewer max_tokens.", Account),
            (
                400,
                "invalid_request_error",
                "Your credit balance is too low to access the Anthropic API.",
                Account,
            ),
            (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", Key),
            (401, "invalid_api_key", "Incorrect API key provided: ***", Key),
            (401, "", "Invalid API Key", Key),
            (401, "authentication_error", "invalid x-api-key", Key),
            (401, "401", "No auth credentials found", Key),
            (
                400,
                "",
                "Incorrect API key provided: ***. You can obtain an API key from https://console.x.ai.",
                Key,
            ),
            (
                404,
                "model_not_found",
                "The model `gpt-9` does not exist or you do not have access to it.",
                Account,
            ),
            (404, "NotFoundError", "The model `m` does not exist.", Account),
            (400, "", "Model not found: grok-9", Account),
            (400, "model_decommissioned", "The model `llama2-70b-4096` has been decommissioned", Account),
            (404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta", Account),
            (400, "1211", "Unknown Model, please check the model code.", Account),
            (400, "400", "vendor/none is not a valid model ID", Account),
            (404, "404", "No endpoints found for vendor/none.", Account),
            (400, "invalid_request_error", "Model Not Exist", Account),
            (404, "DeploymentNotFound", "The API deployment for this resource does not exist.", Account),
            (
                400,
                "unsupported_value",
                "Unsupported value: 'temperature' does not support 0 with this model.",
                Account,
            ),
            (
                400,
                "unsupported_parameter",
                "Unsupported parameter: 'max_tokens' is not supported with this model.",
                Account,
            ),
            (
                400,
                "Client specified an invalid argument",
                "Argument not supported on this model: temperature",
                Account,
            ),
            (400, "invalid_request_error", "This response_format type is unavailable now", Account),
            (400, "", "This model does not support response format `json_schema`.", Account),
            (422, "", "Extra inputs are not permitted", Account),
            (407, "", "Proxy Authentication Required", Account),
            (503, "", "upstream connect error or disconnect/reset before headers", Passing),
            (529, "overloaded_error", "Overloaded", Passing),
            (500, "internal", "", Passing),
            (408, "", "", Passing),
            (401, "", "Invalid authentication", Unknown),
            (403, "", "Forbidden", Unknown),
            (404, "", "404 page not found", Unknown),
            (400, "", "Bad Request", Unknown),
            (422, "", "Field required", Unknown),
            (501, "", "Not Implemented", Unknown),
        ];
        for (status, code, words, kind) in seen {
            assert_eq!(refused(*status, code, words), *kind, "{status} {code}: {words}");
        }
    }

    #[test]
    fn a_refused_form_is_told_from_other_parameters() {
        let about = |code: &str, words: &str| is_about_form(&Failure::refused(400, code, words));
        for (code, words) in [
            (
                "",
                "Invalid schema for response_format 'json_patch': In context=(), 'additionalProperties' is required",
            ),
            (
                "unsupported_parameter",
                "Unsupported parameter: 'response_format.json_schema.strict' is not supported with this model.",
            ),
            ("invalid_request_error", "This response_format type is unavailable now"),
            (
                "invalid_request_error",
                "response_format type must be one of \"text\" or \"json_object\", but got: json_schema",
            ),
            (
                "invalid_request_error",
                "Unable to generate parser for this template. Automatic parser generation failed: JSON schema error at #: unrecognized type",
            ),
            (
                "",
                "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
            ),
            (
                "unsupported_parameter",
                "Unsupported parameter: 'text.format' is not supported with this model.",
            ),
        ] {
            assert!(about(code, words), "{words}");
        }
        for (code, words) in [
            ("unsupported_value", "Unsupported value: 'temperature' does not support 0 with this model."),
            ("model_not_found", "The model `json` does not exist"),
            ("", "the body is not valid JSON"),
            (
                "context_length_exceeded",
                "This model's maximum context length is 4096 tokens, response_format included",
            ),
        ] {
            assert!(!about(code, words), "{words}");
        }
    }

    #[test]
    fn every_row_is_legible_and_in_lower_case() {
        for row in ROWS {
            assert!(!row.provider.is_empty());
            for text in row.codes.iter().chain(row.words) {
                assert_eq!(**text, text.to_lowercase(), "{}", row.provider);
                assert!(text.len() > 3, "{text} would fit too much");
            }
        }
    }

    #[test]
    fn failures_without_a_reply_have_a_kind() {
        let text = || "h".to_owned();
        let connect =
            |reason: &str| Failure::Connect { host: text(), proxy: None, reason: reason.to_owned() };
        for (failure, expected) in [
            (connect("tcp connect error: Connection refused"), PASSING),
            (connect("invalid peer certificate: UnknownIssuer"), ACCOUNT),
            (Failure::Timeout(crate::error::Phase::FirstByte), PASSING),
            (Failure::Reset(text()), PASSING),
            (Failure::Garbage(text()), PASSING),
            (Failure::OtherFormat(text()), FailureKind::Unknown),
            (Failure::Refused(Refusal { words: text(), ..Refusal::default() }), PASSING),
            (Failure::Redirected { status: 308, location: text() }, ACCOUNT),
            (Failure::RedirectLoop { status: 308, location: text() }, ACCOUNT),
            (Failure::CutOff, PROMPT),
            (Failure::Empty { why: text() }, PROMPT),
            (Failure::Withheld { why: text() }, PROMPT),
            (Failure::TooLarge { limit: 1 }, PROMPT),
        ] {
            assert_eq!(kind(&failure), expected, "{failure}");
        }
    }

    #[test]
    fn a_pattern_keeps_its_order() {
        assert!(contains("the model `m` does not exist", "model*does not exist"));
        assert!(!contains("does not exist: model", "model*does not exist"));
        assert!(contains("abc", "b") && !contains("", "b"));
    }

    #[test]
    fn what_ends_a_run_has_advice() {
        let of = |status, code: &str, words: &str| advice(&Failure::refused(status, code, words));
        assert!(of(401, "invalid_api_key", "").contains("api_key_env"));
        assert!(of(429, "1113", "Insufficient balance").contains("no credit"));
        assert!(of(402, "", "").contains("no credit"));
        assert!(
            of(400, "unsupported_value", "'temperature' does not support 0").contains("proposer.temperature")
        );
        assert!(
            of(400, "", "Argument not supported on this model: temperature").contains("proposer.temperature")
        );
        assert!(of(400, "", "This response_format type is unavailable now").contains("proposer.answer_form"));
        assert!(of(404, "model_not_found", "The model `m` does not exist").contains("model of the provider"));
    }
}
