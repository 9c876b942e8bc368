//! Splits the name of a setting into words, whatever its style.

use super::LISTS;
use super::words::List;

/// The words of a name in lower case: `dbPassword2`, `DB_PASSWORD_2` and `db-password.2` have the same.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied();
        let next = chars.get(at + 1).copied();
        if !c.is_alphanumeric() {
            push(&mut words, &mut word);
            continue;
        }
        let begins = before.is_some_and(|before| {
            (c.is_uppercase() && before.is_lowercase())
                || (c.is_uppercase() && before.is_uppercase() && next.is_some_and(char::is_lowercase))
                || (c.is_numeric() != before.is_numeric())
        });
        if begins {
            push(&mut words, &mut word);
        }
        word.extend(c.to_lowercase());
    }
    push(&mut words, &mut word);
    words
}

/// Adds a word, divided where it consists of two of ours (`dbpassword`, `passwordfile`).
fn push(words: &mut Vec<String>, word: &mut String) {
    if word.is_empty() {
        return;
    }
    let word = std::mem::take(word);
    match divide(&word) {
        Some((first, second)) => {
            words.push(first.to_owned());
            words.push(second.to_owned());
        }
        None => words.push(word),
    }
}

/// Words that are found inside longer ones; the exceptions are words of their own.
const INNER: [&str; 26] = [
    "passwords",
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "passcode",
    "secrets",
    "secret",
    "tokens",
    "token",
    "credentials",
    "credential",
    "creds",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "connectionstring",
    "authorization",
    "cookie",
    "pwd",
    "auth",
    "pass",
    "key",
];

fn divide(word: &str) -> Option<(&str, &str)> {
    if LISTS.noun(word).is_some() || LISTS.describer(word).is_some() {
        return None;
    }
    for inner in INNER {
        if let Some(before) = word.strip_suffix(inner) {
            let divides = match inner {
                "key" => LISTS.is(List::Naming, before) || LISTS.ends_with(List::Locking, before),
                "pass" => !matches!(before, "by" | "com" | "tres" | "sur" | "over" | "under" | "encom"),
                _ => true,
            };
            if divides && !before.is_empty() {
                return Some((before, inner));
            }
        }
        if let Some(after) = word.strip_prefix(inner) {
            let known = LISTS.describer(after).is_some() || LISTS.is(List::Neutral, after);
            let unmistakable = inner.starts_with("passw") && inner != "passwords";
            if known || (unmistakable && !after.is_empty()) {
                return Some((inner, after));
            }
        }
    }
    // Scripts without word borders.
    let inner = ["密码", "密碼", "口令", "密钥", "密鑰", "パスワード", "비밀번호", "암호"];
    inner.iter().find_map(|inner| {
        word.ends_with(inner)
            .then(|| word.split_at(word.len() - inner.len()))
            .filter(|(before, _)| !before.is_empty())
    })
}
