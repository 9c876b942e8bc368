//! Whether the name of a setting says that its value is a secret, word by word: `AUTHORIZATION` is one, `AUTHOR` is not.
//!
//! The last word decides what the value is: `PASSWORD_FILE` holds a path, `PASSWORD_POLICY` a word. A value that does not
//! have that form is a secret all the same: a describing name does not avoid that.

mod split;
mod words;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde_json::Value;

use crate::forms;
use split::words;
use words::{Describer, List, Lists, Noun};

static LISTS: LazyLock<Lists> = LazyLock::new(Lists::new);

/// What every name with a noun of the lists holds: a name without any of these is settled without splitting it.
const STEMS: [&str; 62] = [
    "pass",
    "pwd",
    "pw",
    "psk",
    "pin",
    "secret",
    "kennwort",
    "contrase",
    "clave",
    "senha",
    "mdp",
    "парол",
    "wachtwo",
    "senord",
    "hasl",
    "parola",
    "salasana",
    "ifre",
    "jelsz",
    "heslo",
    "adgangs",
    "密",
    "口令",
    "パス",
    "비밀",
    "암호",
    "token",
    "cred",
    "bearer",
    "jwt",
    "auth",
    "key",
    "dsn",
    "conn",
    "kube",
    "netrc",
    "docker",
    "sas",
    "otp",
    "mnemonic",
    "salt",
    "cookie",
    "pepper",
    "cert",
    "pem",
    "seed",
    "session",
    "licen",
    "webhook",
    "sig",
    "hmac",
    "store",
    "login",
    "秘",
    "sifre",
    "ösenord",
    "şifre",
    "hasło",
    "пин",
    "код",
    "sid",
    "code",
];

static STEM: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(STEMS).ok());

/// Longest name that is split into words; a longer text is not the name of a setting.
const LONGEST: usize = 200;

/// Whether a name may hold the name of a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refers {
    No,
    /// The noun is `secret`, `cert` or the like, alone.
    Alone,
    /// There is a word for a reference before it (`tls-secret`), or it is an annotation of a tool.
    ByWord,
}

/// What a name says of its value.
#[derive(Debug, Clone, Copy)]
struct Claim {
    noun: Noun,
    describer: Option<Describer>,
    /// It says whether something is done (`ALLOW_EMPTY_PASSWORD`).
    switch: bool,
    /// It counts (`MAX_TOKENS`).
    count: bool,
    refers: Refers,
}

/// Whether the text `value` of a setting called `name` is a secret.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    let Some(claim) = claim(name) else { return false };
    let value = value.trim();
    if value.is_empty() || forms::is_reference(value) {
        return false;
    }
    if forms::is_null(value) || (name == "secretName" && forms::is_dns_name(value)) {
        return false;
    }
    if let Some(describer) = claim.describer {
        return !fits(describer, value);
    }
    if forms::is_switch(value) {
        return claim.noun == Noun::Password && !claim.switch && !forms::is_state(value);
    }
    if forms::is_number(value) {
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        return !claim.count && digits >= if claim.switch { 4.max(claim.digits()) } else { claim.digits() };
    }
    if (claim.refers != Refers::No && forms::is_object_name(value))
        || (claim.refers == Refers::ByWord && forms::is_kebab_name(value))
    {
        return false;
    }
    match claim.noun {
        Noun::Password => !(forms::is_system_path(value)),
        Noun::Token => !(forms::is_system_path(value) || claim.count),
        Noun::Weak => forms::is_valued(value),
    }
}

/// Whether the scalar `value` (a number or a boolean) of a setting called `name` is a secret.
pub(crate) fn is_secret_scalar(name: &str, value: &Value) -> bool {
    match value {
        Value::Number(_) | Value::Bool(_) => is_secret(name, &value.to_string()),
        _ => false,
    }
}

/// Whether a name says anything of a secret: for no other can a value be one.
pub(crate) fn may_be_secret(name: &str) -> bool {
    claim(name).is_some()
}

/// Whether a name is that of a credential, whatever follows it; for words of a command line that a value follows.
pub(crate) fn is_noun(name: &str) -> bool {
    claim(name).is_some_and(|claim| claim.noun > Noun::Weak && claim.describer.is_none())
}

/// Whether hashes, ids and digests are usual below this name: their shape says nothing there.
pub(crate) fn holds_hashes(name: &str) -> bool {
    const WORDS: [&str; 26] = [
        "image",
        "digest",
        "checksum",
        "hash",
        "sha",
        "md5",
        "sum",
        "commit",
        "revision",
        "rev",
        "etag",
        "uid",
        "uuid",
        "guid",
        "id",
        "ids",
        "version",
        "tag",
        "integrity",
        "fingerprint",
        "thumbprint",
        "ref",
        "generation",
        "build",
        "release",
        "bundle",
    ];
    words(name).iter().any(|word| WORDS.contains(&word.as_str()))
}

/// Whether the last word of a name says that the value is the name of something (of a user, a database, a region).
pub(crate) fn identifies(name: &str) -> bool {
    const WORDS: [&str; 30] = [
        "user",
        "users",
        "username",
        "login",
        "database",
        "db",
        "name",
        "host",
        "hosts",
        "server",
        "bucket",
        "region",
        "type",
        "provider",
        "engine",
        "driver",
        "namespace",
        "org",
        "organization",
        "role",
        "group",
        "schema",
        "index",
        "mode",
        "env",
        "environment",
        "profile",
        "service",
        "project",
        "cluster",
    ];
    name.len() <= LONGEST && words(name).last().is_some_and(|word| WORDS.contains(&word.as_str()))
}

impl Claim {
    /// From how many digits on a number is a secret and not a count, a port or a size.
    const fn digits(self) -> usize {
        match self.noun {
            Noun::Password => 1,
            Noun::Token => 4,
            Noun::Weak => 6,
        }
    }
}

fn fits(describer: Describer, value: &str) -> bool {
    match describer {
        Describer::Word => {
            forms::is_word(value) || (forms::is_number(value) && value.len() <= 3) || forms::is_switch(value)
        }
        Describer::Path => forms::is_path(value) || forms::is_word(value),
        Describer::Name => forms::is_name(value) || forms::is_path(value),
        Describer::Number => forms::is_quantity(value) || forms::is_word(value),
        Describer::Switch => forms::is_switch(value) || forms::is_word(value) || forms::is_quantity(value),
        Describer::Url => forms::is_address(value) || forms::is_path(value),
        Describer::Prose => forms::is_prose(value) || forms::is_name(value),
    }
}

fn claim(name: &str) -> Option<Claim> {
    if name.len() > LONGEST || !STEM.as_ref().is_some_and(|stem| stem.is_match(name)) {
        return None;
    }
    if name.starts_with("checksum/") || name == "key" || name == "keys" {
        return None;
    }
    // The domain of an annotation names its tool: `secret.example.org/reload`.
    let own = name.rsplit('/').next().unwrap_or(name);
    let words = words(own);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    while words.len() > 1 && words.last().is_some_and(|word| is_noise(word)) {
        words.pop();
    }
    let (at, noun) = strongest(&words)?;
    let last = words.len() - 1;
    let describer = (at < last).then(|| words.last().and_then(|word| describer(&words, word))).flatten();
    let before = words.get(..at).unwrap_or_default();
    let refers = refers(words.last().copied().filter(|_| at == last), before, own.len() < name.len());
    if noun == Noun::Weak && at < last && describer.is_none() {
        return None;
    }
    Some(Claim {
        noun,
        describer,
        switch: words.iter().any(|word| LISTS.is(List::Verb, word)),
        count: before.iter().any(|word| LISTS.is(List::Count, word)),
        refers,
    })
}

fn refers(noun: Option<&str>, before: &[&str], annotation: bool) -> Refers {
    const VALUES: [&str; 12] = [
        "client", "app", "api", "shared", "webhook", "jwt", "cookie", "session", "oauth", "token", "user",
        "db",
    ];
    let object =
        noun.is_some_and(|noun| ["secret", "cert", "cred"].iter().any(|begin| noun.starts_with(begin)));
    if !object {
        Refers::No
    } else if before.is_empty() {
        Refers::Alone
    } else if before.iter().all(|word| REFERRING.contains(word))
        || (annotation && !before.iter().any(|word| VALUES.contains(word)))
    {
        Refers::ByWord
    } else {
        Refers::No
    }
}

/// Words before `secret` in the names of settings that hold the name of a Secret.
const REFERRING: [&str; 16] = [
    "existing", "tls", "auth", "ca", "cert", "pull", "image", "backup", "ssl", "config", "basic", "proxy",
    "default", "my", "ingress", "realm",
];

fn is_noise(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit()) || LISTS.is(List::Neutral, word)
}

/// What the last word says the value is.
fn describer(words: &[&str], last: &str) -> Option<Describer> {
    // `secret id` is half of a credential (AppRole), `key id` and `token id` are names.
    let before = words.len().checked_sub(2).and_then(|at| words.get(at)).copied();
    match (last, before) {
        ("id", Some("secret" | "session")) => None,
        _ => LISTS.describer(last),
    }
}

/// The strongest noun and the place of its last word; the later of equals.
fn strongest(words: &[&str]) -> Option<(usize, Noun)> {
    let nouns = words.iter().enumerate().filter_map(|(at, word)| {
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied();
        noun(word, before).map(|noun| (at, noun))
    });
    nouns.max_by_key(|(at, noun)| (*noun, *at))
}

fn noun(word: &str, before: Option<&str>) -> Option<Noun> {
    match (word, before) {
        ("key" | "keys", Some(before)) if LISTS.is(List::Naming, before) => None,
        ("key" | "keys", Some(before)) if LISTS.ends_with(List::Locking, before) => Some(Noun::Token),
        ("key" | "keys", _) => Some(Noun::Weak),
        ("code", Some("auth" | "access" | "pin" | "recovery" | "activation"))
        | ("string" | "str", Some("connection" | "conn")) => Some(Noun::Token),
        // `proxy_pass http://…` of nginx and tests that pass, pins of boards, seeds of tables and dice.
        (
            "pass",
            Some("proxy" | "fastcgi" | "uwsgi" | "scgi" | "grpc" | "ssl" | "first" | "multi" | "single"),
        )
        | ("pin", Some("gpio" | "cpu" | "led" | "data" | "clock"))
        | ("seed", Some("random" | "rand" | "node" | "db" | "database"))
        | ("login", _) => None,
        _ => LISTS.noun(word),
    }
}

#[cfg(test)]
mod tests;
