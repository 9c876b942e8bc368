//! The server's formats of names, keys and other texts. A check gives one message for each thing that is wrong.

/// What is wrong with a text; nothing, if empty.
pub(crate) type Messages = Vec<&'static str>;

macro_rules! label_text {
    () => {
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
         alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    };
}
macro_rules! subdomain_text {
    () => {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
         with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    };
}
macro_rules! qualified_text {
    () => {
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
         'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    };
}
const NO_MORE_THAN_63: &str = "must be no more than 63 characters";
const NO_MORE_THAN_253: &str = "must be no more than 253 characters";

fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| is_lower_or_digit(*first) && is_lower_or_digit(*last))
        && bytes.iter().all(|byte| is_lower_or_digit(*byte) || *byte == b'-')
}

/// `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`
fn is_key_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// RFC 1123 label.
pub(crate) fn label(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 63 {
        messages.push(NO_MORE_THAN_63);
    }
    if !is_label(text) {
        messages.push(if is_subdomain(text) { "must not contain dots" } else { label_text!() });
    }
    messages
}

/// RFC 1123 subdomain.
pub(crate) fn subdomain(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push(NO_MORE_THAN_253);
    }
    if !is_subdomain(text) {
        messages.push(subdomain_text!());
    }
    messages
}

/// RFC 1123 subdomain in any case of letters.
pub(crate) fn subdomain_any_case(text: &str) -> Messages {
    subdomain(&text.to_ascii_lowercase())
}

/// RFC 1123 subdomain whose labels may hold underscores: a DNS search path.
pub(crate) fn subdomain_with_underscores(text: &str) -> Messages {
    let is_part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        let bytes = part.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        ends.is_some_and(|(first, last)| is_lower_or_digit(*first) && is_lower_or_digit(*last))
            && bytes.iter().all(|byte| is_lower_or_digit(*byte) || b"-_".contains(byte))
    };
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push(NO_MORE_THAN_253);
    }
    if !text.split('.').all(is_part) {
        messages.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and \
             end with an alphanumeric character",
        );
    }
    messages
}

/// RFC 1035 label.
pub(crate) fn label_1035(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 63 {
        messages.push(NO_MORE_THAN_63);
    }
    if !is_label(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        messages.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end \
             with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
             '[a-z]([-a-z0-9]*[a-z0-9])?')",
        );
    }
    messages
}

/// `*.` and an RFC 1123 subdomain.
pub(crate) fn wildcard_subdomain(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push(NO_MORE_THAN_253);
    }
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        messages.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case \
             alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        );
    }
    messages
}

/// A name that stands in a URL: what RBAC and API services allow.
pub(crate) fn path_segment(text: &str) -> Messages {
    match text {
        "." => return vec!["may not be '.'"],
        ".." => return vec!["may not be '..'"],
        _ => {}
    }
    let mut messages = Vec::new();
    if text.contains('/') {
        messages.push("may not contain '/'");
    }
    if text.contains('%') {
        messages.push("may not contain '%'");
    }
    messages
}

/// Any text at all.
pub(crate) fn anything(_: &str) -> Messages {
    Vec::new()
}

/// A label key: `name` or `prefix/name`.
pub(crate) fn qualified(text: &str) -> Messages {
    let mut messages = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            return vec![concat!(
                "a valid label key ",
                qualified_text!(),
                " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty");
            } else {
                if prefix.len() > 253 {
                    messages.push("prefix part must be no more than 253 bytes");
                }
                if !is_subdomain(prefix) {
                    messages.push(concat!("prefix part ", subdomain_text!()));
                }
            }
            name
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty");
    } else if name.len() > 63 {
        messages.push("name part must be no more than 63 bytes");
    }
    if !is_key_name(name) {
        messages.push(concat!("name part ", qualified_text!()));
    }
    messages
}

/// [`qualified`] in any case of letters: an annotation's key.
pub(crate) fn qualified_any_case(text: &str) -> Messages {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) || !text.is_ascii() {
        qualified(&text.to_lowercase())
    } else {
        qualified(text)
    }
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 63 {
        messages.push("must be no more than 63 bytes");
    }
    if !text.is_empty() && !is_key_name(text) {
        messages.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
             an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        );
    }
    messages
}

/// A key of a `ConfigMap` or Secret.
pub(crate) fn config_key(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 253 {
        messages.push(NO_MORE_THAN_253);
    }
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_key) {
        messages.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        );
    }
    match text {
        "." => messages.push("must not be '.'"),
        ".." => messages.push("must not be '..'"),
        _ if text.starts_with("..") => messages.push("must not start with '..'"),
        _ => {}
    }
    messages
}

/// An environment variable's name: any printable ASCII but `=`.
pub(crate) fn variable(text: &str) -> Messages {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty"];
    }
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='"]
}

/// A name of a variable, before any printable one was allowed.
pub(crate) fn strict_variable(text: &str) -> Messages {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let mut messages = Vec::new();
    if text.is_empty()
        || !text.bytes().all(is_inner)
        || text.starts_with(|first: char| first.is_ascii_digit())
    {
        messages.push(
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start \
             with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is \
             '[-._a-zA-Z][-._a-zA-Z0-9]*')",
        );
    }
    match text {
        "." => messages.push("must not be '.'"),
        ".." => messages.push("must not be '..'"),
        _ if text.starts_with("..") => messages.push("must not start with '..'"),
        _ => {}
    }
    messages
}

/// A port's name.
pub(crate) fn port_name(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.len() > 15 {
        messages.push("must be no more than 15 characters");
    }
    if text.is_empty() || !text.bytes().all(|byte| is_lower_or_digit(byte) || byte == b'-') {
        messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        messages.push("must contain at least one letter (a-z)");
    }
    if text.contains("--") {
        messages.push("must not contain consecutive hyphens");
    }
    if text.starts_with('-') || text.ends_with('-') {
        messages.push("must not begin or end with a hyphen");
    }
    messages
}

/// `[0-9]+%`
pub(crate) fn percent(text: &str) -> Messages {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    vec![
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is \
         '[0-9]+%')",
    ]
}

/// An HTTP header's name.
pub(crate) fn header_name(text: &str) -> Messages {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    vec![
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is \
         '[-A-Za-z0-9]+')",
    ]
}

/// A kernel parameter's name.
pub(crate) fn sysctl(text: &str) -> Messages {
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        ends.is_some_and(|(first, last)| is_lower_or_digit(*first) && is_lower_or_digit(*last))
            && bytes.iter().all(|byte| is_lower_or_digit(*byte) || b"-_".contains(byte))
    };
    if text.len() <= 253 && text.split(['.', '/']).all(is_segment) {
        return Vec::new();
    }
    vec![
        "must have at most 253 characters and match regex \
         ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
    ]
}

/// The characters that a path after a domain may hold.
pub(crate) fn is_http_path(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// What is wrong with a path that must stay below where it starts.
pub(crate) fn descending_path(text: &str) -> Messages {
    let mut messages = Vec::new();
    if text.starts_with('/') {
        messages.push("must be a relative path");
    }
    messages.extend(no_backsteps(text));
    messages
}

/// [`descending_path`] that does not use the names which volumes reserve.
pub(crate) fn unreserved_path(text: &str) -> Messages {
    let mut messages = descending_path(text);
    if text.starts_with("..") && !text.starts_with("../") {
        messages.push("must not start with '..'");
    }
    messages
}

/// A path without `..`.
pub(crate) fn no_backsteps(text: &str) -> Messages {
    if text.split('/').any(|part| part == "..") { vec!["must not contain '..'"] } else { Vec::new() }
}
