//! Forms of values: what a word, a path, a name, a number or an address looks like, so that a value that a name describes
//! can be told from a secret that stands under such a name.

/// Algorithms and versions: words with digits.
const MIXED_WORDS: [&str; 44] = [
    "sha1", "sha256", "sha384", "sha512", "md5", "hs256", "hs384", "hs512", "rs256", "rs384", "rs512",
    "es256", "es384", "es512", "ps256", "rsa2048", "rsa4096", "aes128", "aes192", "aes256", "oauth2",
    "pbkdf2", "base64", "base32", "ed25519", "x25519", "x509", "k8s", "s3", "h2", "http2", "pkcs1", "pkcs8",
    "pkcs12", "p12", "p256", "p384", "argon2", "argon2id", "ipv4", "ipv6", "ec2", "utf8", "3des",
];

fn letters(run: &str) -> bool {
    !run.is_empty() && run.chars().all(char::is_alphabetic)
}

fn digits(run: &str) -> bool {
    !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit())
}

/// Changes between small letters, capitals and digits, per character: names have few, random texts many.
pub(crate) fn changes(text: &str) -> f64 {
    let class = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let bytes = text.as_bytes();
    let changes = bytes.windows(2).filter(|pair| class(pair[0]) != class(pair[1])).count();
    changes as f64 / (bytes.len().max(2) - 1) as f64
}

/// Letters that read as one or several words: `Opaque`, `requiredDuringScheduling`, no `aBcDeFgH`.
fn reads(run: &str) -> bool {
    letters(run) && run.chars().count() <= 40 && (run.len() < 6 || changes(run) < 0.4)
}

fn is_mixed_word(run: &str) -> bool {
    let lower = run.to_ascii_lowercase();
    let version = lower.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.len() <= 8
            && rest.bytes().all(|b| b.is_ascii_alphanumeric())
            && changes(rest) < 0.5
    });
    version || MIXED_WORDS.contains(&lower.as_str())
}

/// A word or a short list of words: `Opaque`, `kubernetes.io/tls`, `rsa-2048`.
pub(crate) fn is_word(value: &str) -> bool {
    let mut runs = value
        .split(|c: char| c.is_whitespace() || "-_./,+".contains(c))
        .filter(|run| !run.is_empty())
        .peekable();
    value.len() <= 80
        && runs.peek().is_some_and(|first| !digits(first))
        && runs.all(|run| reads(run) || (digits(run) && run.len() <= 4) || is_mixed_word(run))
}

/// The name of an object, a header, a variable: like a word, but its parts may end with a few digits.
pub(crate) fn is_name(value: &str) -> bool {
    let numbered = |run: &str| {
        let stem = run.trim_end_matches(|c: char| c.is_ascii_digit());
        reads(stem) && run.len() - stem.len() <= 3
    };
    let mut runs = value.split(|c: char| "-_./:@ ".contains(c)).filter(|run| !run.is_empty()).peekable();
    value.len() <= 253
        && runs.peek().is_some()
        && runs
            .all(|run| numbered(run) || (digits(run) && run.len() <= 4) || is_mixed_word(run) || is_uuid(run))
        || is_uuid(value)
}

/// The name of an object of several words: `pod-identity-webhook`, `ns/name`.
pub(crate) fn is_kebab_name(value: &str) -> bool {
    value.contains(['-', '/'])
        && value
            .split(['-', '/'])
            .all(|run| run.len() > 1 && run.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// What Kubernetes takes for the name of an object.
pub(crate) fn is_dns_name(value: &str) -> bool {
    value.len() <= 253
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
}

/// The name of a Kubernetes object that says that it is one of secrets: `ns/mysql-root-secret`.
pub(crate) fn is_object_name(value: &str) -> bool {
    const SAYS: [&str; 16] = [
        "secret",
        "secrets",
        "creds",
        "credentials",
        "cred",
        "cert",
        "certs",
        "tls",
        "ssl",
        "token",
        "auth",
        "key",
        "keys",
        "password",
        "config",
        "ca",
    ];
    let legal = value
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./".contains(&byte));
    legal
        && value.contains(['-', '/'])
        && is_name(value)
        && value.split(['-', '.', '/']).any(|run| SAYS.contains(&run))
}

/// A file: absolute, relative with a folder, or with an ending.
pub(crate) fn is_path(value: &str) -> bool {
    let legal = |c: char| c.is_alphanumeric() || "._-/~$(){}@:\\+, %".contains(c);
    let placed =
        value.starts_with(['/', '~', '.', '$']) || value.contains('/') || value.get(1..3) == Some(":\\");
    let ending =
        value.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && reads(end) && end.len() <= 8);
    (placed || ending)
        && value.len() <= 400
        && value.chars().all(legal)
        && !value.contains("://")
        && value.split(['/', '\\', ':']).all(|segment| segment.len() < 20 || changes(segment) < 0.35)
}

/// A file below one of the usual folders, whatever its name says.
pub(crate) fn is_system_path(value: &str) -> bool {
    const ROOTS: [&str; 24] = [
        "/var/",
        "/run/",
        "/etc/",
        "/mnt/",
        "/secrets/",
        "/vault/",
        "/opt/",
        "/home/",
        "/root/",
        "/tmp/",
        "/usr/",
        "/app/",
        "/data/",
        "/config/",
        "/certs/",
        "/keys/",
        "/ssl/",
        "/tls/",
        "/srv/",
        "./",
        "../",
        "~/",
        "file:/",
        "/secret/",
    ];
    const FILES: [&str; 8] = [".crt", ".pem", ".key", ".json", ".yaml", ".txt", ".jks", ".p12"];
    let file = value.starts_with('/') && FILES.iter().any(|end| value.ends_with(end));
    (file || ROOTS.iter().any(|root| value.starts_with(root))) && is_path(value.trim_start_matches("file:"))
}

/// A number, a duration, a size or a cron expression.
pub(crate) fn is_quantity(value: &str) -> bool {
    let one = |part: &str| {
        let unit = part.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.*/,".contains(c));
        let number = part.len() - unit.len();
        number > 0
            && number <= 10
            && (unit.len() <= 3 || matches!(unit, "seconds" | "minutes" | "hours" | "days"))
            && unit.chars().all(|c| c.is_alphabetic() || c == '%')
    };
    // `1h30m` is two.
    let compound = value.len() <= 12
        && value.starts_with(|c: char| c.is_ascii_digit())
        && value.chars().all(|c| c.is_ascii_digit() || "hmsdwy".contains(c));
    compound || (value.len() <= 40 && value.split_whitespace().all(one) && !value.is_empty())
}

/// Digits alone, with a sign or a point.
pub(crate) fn is_number(value: &str) -> bool {
    let bare = value.trim_start_matches(['-', '+']);
    let (whole, part) = bare.split_once('.').unwrap_or((bare, "0"));
    digits(whole) && digits(part)
}

/// Yes or no, in any of the usual spellings.
pub(crate) fn is_switch(value: &str) -> bool {
    const WORDS: [&str; 16] = [
        "true", "false", "yes", "no", "on", "off", "enabled", "disabled", "enable", "disable", "always",
        "never", "required", "optional", "auto", "default",
    ];
    value.len() <= 8 && WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// A switch that is not a boolean of YAML: the state of something.
pub(crate) fn is_state(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off")
}

/// A text for nothing.
pub(crate) fn is_null(value: &str) -> bool {
    matches!(
        value,
        "null"
            | "~"
            | "..."
            | "none"
            | "None"
            | "nil"
            | "undefined"
            | "\"\""
            | "''"
            | "{}"
            | "[]"
            | "|"
            | ">"
            | "|-"
            | ">-"
            | "{"
            | "["
    )
}

/// Where something is: a URL, a host with or without a port, a mail address. Secrets inside a URL are found by themselves.
pub(crate) fn is_address(value: &str) -> bool {
    if value.contains("://") {
        return !value.contains(char::is_whitespace);
    }
    value.split([',', ' ']).filter(|one| !one.is_empty()).all(|one| {
        let (host, port) = one.rsplit_once(':').unwrap_or((one, "80"));
        let port = port.split('/').next().unwrap_or_default();
        is_name(host) && (digits(port) || is_variable(port)) || is_ip(host) || one.starts_with('/')
    })
}

fn is_variable(port: &str) -> bool {
    port.starts_with('$')
}

fn is_ip(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

/// A sentence or a pattern.
pub(crate) fn is_prose(value: &str) -> bool {
    let words = value.split_whitespace().count();
    words >= 3 || value.contains(['*', '^', '|', '\\', '{', '<'])
}

/// A variable, a placeholder of a template, or a pointer into a store of secrets, in place of a value.
pub(crate) fn is_reference(value: &str) -> bool {
    let inside = |open: &str, close: &str| {
        let inner = value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inner.is_some_and(|inner| {
            !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || "_.- ".contains(c))
        })
    };
    let dollar = value.strip_prefix('$').is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.to_ascii_uppercase() == name
    });
    // A command or a variable of a shell, unless it has a default.
    let shell = value.starts_with("$(")
        || value.starts_with('`')
        || value.strip_prefix("${").is_some_and(|rest| {
            let name = rest
                .trim_start_matches(['!', '#'])
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            name.starts_with('}')
                || [":-}", "-}", ":=}", ":?", "?"].iter().any(|end| name.starts_with(end))
                || name.starts_with(":-$")
                || name.starts_with(":-\"$")
        });
    let stores = [
        "vault:",
        "ref+",
        "op://",
        "arn:aws:",
        "secretref:",
        "sops:",
        "ENC[AES256_GCM",
        "@Microsoft.KeyVault(",
        "valueFrom",
    ];
    dollar
        || shell
        || inside("$(", ")")
        || inside("${", "}")
        || inside("<", ">")
        || inside("%", "%")
        || (value.starts_with("{{") && value.ends_with("}}"))
        || stores.iter().any(|store| value.starts_with(store))
        || crate::masks::is_mask(value)
}

/// Whether a value under a name that may or may not be a secret's looks like a credential.
pub(crate) fn is_valued(value: &str) -> bool {
    if value.len() < 6 {
        return false;
    }
    if crate::text::encoded::is_pair(value) {
        return true;
    }
    !value.contains(char::is_whitespace)
        && !value.contains("://")
        && !is_word(value)
        && !is_name_but_numbered(value)
        && !is_path(value)
        && !is_quantity(value)
        && !is_number(value)
        && !is_listed(value)
        && !(is_address(value)
            && value.rsplit_once(':').is_some_and(|(_, port)| digits(port))
            && value.contains(['.', ':'])
            && !value.contains('@')
            && is_address_like(value))
}

fn is_address_like(value: &str) -> bool {
    value.rsplit_once(':').is_some_and(|(_, port)| port.len() <= 5)
}

/// A name of several parts (`my-app-2`): one part with digits may be a password.
fn is_name_but_numbered(value: &str) -> bool {
    value.contains(['-', '_', '.']) && is_name(value)
}

/// Several words between commas or bars.
fn is_listed(value: &str) -> bool {
    value.contains([',', '|', '*', '^'])
        && value.split([',', '|']).all(|part| is_name(part) || part.contains(['*', '^', '=']))
}

/// `8-4-4-4-12` hexadecimal digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    let mut parts = text.split('-');
    text.len() == 36
        && [8, 4, 4, 4, 12].iter().all(|length| {
            parts.next().is_some_and(|part| {
                part.len() == *length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        })
}
