//! Detects secrets in a manifest by their location, name and shape. Code that prints or sends a manifest must use it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Shortest secret that is looked for in other texts: shorter ones may be words.
const REPEATED: usize = 8;

/// Puts what `take` returns for it in place of every secret of a manifest, and of every text that is longer than
/// `longest` bytes. Whoever writes a secret once may write it again where nothing but the secret itself gives it away:
/// there it is replaced as well.
pub fn replace(document: &mut Value, longest: usize, take: &mut impl FnMut(&str) -> String) {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut taken = BTreeMap::new();
    let mut note = |secret: &str| {
        let sign = take(secret);
        taken.insert(secret.to_owned(), sign.clone());
        sign
    };
    inside(document, &Here { kind: &kind, key: "", all: false, longest }, &mut note);
    let mut repeated: Vec<_> = taken.into_iter().filter(|(secret, _)| secret.len() >= REPEATED).collect();
    repeated.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    replace_repeats(document, &repeated);
}

fn replace_repeats(value: &mut Value, repeated: &[(String, String)]) {
    match value {
        Value::String(text) => {
            for (secret, sign) in repeated {
                if text.contains(secret) {
                    *text = text.replace(secret, sign);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_repeats(item, repeated)),
        Value::Object(entries) => entries.values_mut().for_each(|entry| replace_repeats(entry, repeated)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The same for a text that is not YAML: line by line, by the key before the first colon.
pub fn replace_in_text(text: &str, take: &mut impl FnMut(&str) -> String) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
        let (key, value) = body.split_once(": ").unwrap_or(("", body));
        let name = key.trim().trim_matches(['-', '"', '\'', '{', ' ']);
        let here = Here { kind: "", key: name, all: false, longest: usize::MAX };
        let start = value.len() - value.trim_start().len();
        let (before, value) = (&body[..body.len() - value.len() + start], value.trim_start());
        format!("{before}{}{end}", masked(value, &here, take))
    });
    lines.collect()
}

#[derive(Clone, Copy)]
struct Here<'a> {
    kind: &'a str,
    /// The key of this node (for an environment variable's value: the variable's name).
    key: &'a str,
    /// Every text below is a secret.
    all: bool,
    longest: usize,
}

fn inside(value: &mut Value, here: &Here<'_>, take: &mut impl FnMut(&str) -> String) {
    match value {
        Value::String(text) => *text = masked(text, here, take),
        Value::Array(items) => {
            let mut before = String::new();
            for item in items.iter_mut() {
                // `--password` and its value may be two arguments.
                let flag = before.strip_prefix("--").filter(|flag| is_name(flag) && !flag.contains('='));
                let (key, flagged) = (flag.unwrap_or(here.key).to_owned(), flag.is_some());
                item.as_str().unwrap_or_default().clone_into(&mut before);
                let all = here.all || (flagged && !before.starts_with('-'));
                inside(item, &Here { key: &key, all, ..*here }, take);
            }
        }
        Value::Object(entries) => {
            let variable = variable(entries);
            for (key, entry) in entries.iter_mut() {
                let of_secret = here.kind == "Secret" && matches!(key.as_str(), "data" | "stringData");
                let named = match &variable {
                    Some(name) if key == "value" => name.as_str(),
                    _ => key.as_str(),
                };
                let all = here.all || of_secret;
                inside(entry, &Here { key: named, all, ..*here }, take);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The name of an environment variable (or of anything with a name and a value).
fn variable(entries: &Map<String, Value>) -> Option<String> {
    entries.get("value")?;
    entries.get("name").and_then(Value::as_str).map(str::to_owned)
}

fn masked(text: &str, here: &Here<'_>, take: &mut impl FnMut(&str) -> String) -> String {
    if text.is_empty() {
        return String::new();
    }
    let by_place = here.all || here.key == "kubectl.kubernetes.io/last-applied-configuration";
    let by_name = is_name(here.key) && !is_reference(here.key) && !matches!(text, "true" | "false");
    if by_place || by_name || text.len() > here.longest || is_shaped(text, here.key) {
        return take(text);
    }
    let text = password_of_url(text).map_or_else(
        || text.to_owned(),
        |(from, to)| format!("{}{}{}", &text[..from], take(&text[from..to]), &text[to..]),
    );
    match flag(&text) {
        // What was masked already holds no secret any more.
        Some(at) if password_of_url(&text).is_none() => {
            format!("{}{}", &text[..at], take(&text[at..]))
        }
        _ => text,
    }
}

/// Words that only the names of secrets hold.
const WORDS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "dsn",
    "connectionstring",
    "cert",
    "auth",
    "encryptionkey",
    "signingkey",
    "licensekey",
    "webhookurl",
];

/// Whether a name says that its value is secret.
fn is_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    WORDS.iter().any(|word| plain.contains(word))
        || plain == "pass"
        || plain.ends_with("pass")
        || plain.ends_with("pwd")
}

/// Whether a name that speaks of a secret holds the name or the place of one.
fn is_reference(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ends =
        ["name", "ref", "path", "file", "dir", "mountpath", "kind", "type", "mode", "policy", "issuer"];
    // In camelCase and in SCREAMING_CASE alike; `secretName` is a reference, `DB_SECRET` is not.
    ends.iter().any(|end| lower.ends_with(end)) || lower.contains("author") || lower.contains("cert-manager")
}

/// Where the value begins in `--password=…` or `password=…`.
fn flag(text: &str) -> Option<usize> {
    let (name, value) = text.split_once('=')?;
    let bare = name.trim_start_matches('-');
    let legal = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    (legal && !value.is_empty() && is_name(bare) && !is_reference(bare)).then(|| name.len() + 1)
}

/// The password in `scheme://user:password@host`.
fn password_of_url(text: &str) -> Option<(usize, usize)> {
    let authority = text.find("://")? + 3;
    let rest = &text[authority..];
    let end = rest.find(['/', '?', '#', ' ', '"']).unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    let colon = rest[..at].find(':')?;
    (colon + 1 < at).then_some((authority + colon + 1, authority + at))
}

/// Whether a value looks like a secret key, under any name.
fn is_shaped(text: &str, key: &str) -> bool {
    if text.contains("-----BEGIN ") {
        return true;
    }
    let words = text.split(|c: char| c.is_whitespace() || "\"'`,;()<>=".contains(c));
    words.filter(|word| word.len() >= 16).any(|word| is_known(word) || (key != "image" && is_random(word)))
}

fn is_known(word: &str) -> bool {
    let jwt = word.starts_with("eyJ") && word.matches('.').count() == 2;
    let aws = ["AKIA", "ASIA"].iter().any(|begin| word.starts_with(begin))
        && word.len() == 20
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let prefixes = [
        "ghp_",
        "gho_",
        "ghs_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "sk-",
        "sk_live_",
        "xai-",
        "AIza",
    ];
    jwt || aws || prefixes.iter().any(|prefix| word.starts_with(prefix))
}

/// Long, of letters of both cases and digits in a mix that no name has, or long hexadecimal.
fn is_random(word: &str) -> bool {
    let legal = word.chars().all(|c| c.is_ascii_alphanumeric() || "+/=_-".contains(c));
    if !legal || word.len() < 20 || word.starts_with('/') {
        return false;
    }
    let has = |test: fn(&char) -> bool| word.chars().any(|c| test(&c));
    let hex = word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit()) && has(char::is_ascii_digit);
    let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    hex || (mixed && entropy(word) > 3.7)
}

/// Bits per character.
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 128];
    for byte in word.bytes().filter(u8::is_ascii) {
        counts[usize::from(byte)] += 1;
    }
    let length = word.len() as f64;
    let bits = |count: &u32| {
        let share = f64::from(*count) / length;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold_secrets_and_names_that_hold_names() {
        for name in [
            "DB_PASSWORD",
            "apiKey",
            "api_key",
            "AWS_SECRET_ACCESS_KEY",
            "mysql-pass",
            "AUTH_TOKEN",
            "SENTRY_DSN",
        ] {
            assert!(is_name(name) && !is_reference(name), "{name}");
        }
        for name in ["secretName", "DB_PASSWORD_FILE", "TLS_CERT_PATH", "tokenRef", "AUTHOR", "AUTH_MODE"] {
            assert!(!is_name(name) || is_reference(name), "{name}");
        }
        for name in ["MODE", "image", "name", "compass_x", "key", "bypassed"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn keys_are_known_by_their_shape() {
        for text in [
            "-----BEGIN RSA PRIVATE KEY-----\nabc",
            "AKIAIOSFODNN7EXAMPLE",
            "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "5f4dcc3b5aa765d61d8327deb882cf99",
        ] {
            assert!(is_shaped(text, "x"), "{text}");
        }
        for text in [
            "gcr.io/google-samples/node-hello:1.0",
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "app.kubernetes.io/managed-by",
            "my-very-long-deployment-name-7d9f8b6c5d",
            "echo Hello from the Kubernetes cluster && sleep 3600",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ] {
            assert!(!is_shaped(text, "x"), "{text}");
        }
        assert!(!is_shaped(
            "nginx@sha256:5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99",
            "image"
        ));
    }

    #[test]
    fn a_text_that_is_no_yaml_is_looked_through_line_by_line() {
        let text = "kind: Pod\n  bad: [\n  - db-password: hunter2\n  \"apiKey\": abc\n  image: nginx\nghp_0123456789abcdef\n";
        let mut found = vec![];
        let shown = replace_in_text(text, &mut |secret| {
            found.push(secret.to_owned());
            "***".to_owned()
        });
        assert_eq!(found, ["hunter2", "abc", "ghp_0123456789abcdef"]);
        assert_eq!(
            shown,
            "kind: Pod\n  bad: [\n  - db-password: ***\n  \"apiKey\": ***\n  image: nginx\n***\n"
        );
    }

    #[test]
    fn a_password_in_an_address_or_a_flag_is_found() {
        let url = "amqp://user:pa:ss@host:5672/v";
        let (from, to) = password_of_url(url).unwrap();
        assert_eq!(&url[from..to], "pa:ss");
        for none in ["http://host/a:b@c", "http://user@host", "postgres://:@h", "a:b@c"] {
            assert_eq!(password_of_url(none), None, "{none}");
        }
        assert_eq!(flag("--api-key=abc"), Some(10));
        assert_eq!(flag("--token-file=/a"), None);
        assert_eq!(flag("--verbose=true"), None);
    }
}
