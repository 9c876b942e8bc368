//! Credentials in URLs and in connection strings that look like them: `scheme://user:password@host`, `user:password@host`,
//! `scott/tiger@//host`, keys of queries.

use std::ops::Range;

use crate::forms;
use crate::names;

/// Adds the passwords and tokens of every URL.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find("://")).map(|at| from + at + 3) {
        let rest = super::window(text, at);
        let end = rest.find(|c: char| c.is_whitespace() || "\"'`<>\\".contains(c)).unwrap_or(rest.len());
        // Several URLs in one word: each has its own user.
        let next = rest.get(..end).and_then(|url| url.find("://"));
        let end = next.map_or(end, |next| begin_of_scheme(rest, next));
        let url = rest.get(..end).unwrap_or_default();
        userinfo(url, at, found);
        query(url, at, found);
        from = at + end.max(1);
        while !text.is_char_boundary(from.min(text.len())) {
            from += 1;
        }
    }
    words(text, found);
}

/// Where the scheme of the URL begins whose `://` is at `next`, or the separator in front of it.
fn begin_of_scheme(text: &str, next: usize) -> usize {
    let before = text.get(..next).unwrap_or_default();
    before.rfind(|c: char| !c.is_ascii_alphanumeric() && !"+.-".contains(c)).unwrap_or(next)
}

fn userinfo(url: &str, base: usize, found: &mut Vec<Range<usize>>) {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    let first = url.get(..authority).unwrap_or_default();
    let at = match first.rfind('@') {
        Some(at) => Some(at),
        // A password may hold a slash: then what stands before it is not a port.
        None => first
            .split_once(':')
            .filter(|(_, port)| {
                !port.is_empty()
                    && !port.bytes().all(|byte| byte.is_ascii_digit())
                    && !port.starts_with(['$', '{'])
            })
            .and_then(|_| url.rfind('@')),
    };
    let Some(userinfo) = at.and_then(|at| url.get(..at)) else { return };
    match userinfo.find(':') {
        Some(colon) => {
            let password = userinfo.get(colon + 1..).unwrap_or_default();
            if !password.is_empty() && !forms::is_reference(password) {
                found.push(base + colon + 1..base + userinfo.len());
            }
            let user = userinfo.get(..colon).unwrap_or_default();
            if is_token(user) {
                found.push(base..base + colon);
            }
        }
        None if is_token(userinfo) => found.push(base..base + userinfo.len()),
        None => {}
    }
}

/// A user of a URL that is a token: no name of a person or a role.
fn is_token(user: &str) -> bool {
    let named = forms::is_word(user) || (user.contains(['-', '.', '_']) && forms::is_name(user));
    user.len() >= 8 && !named && !forms::is_reference(user)
}

/// Names of parameters that are keys in URLs alone.
const PARAMETERS: [&str; 12] = [
    "key",
    "sig",
    "signature",
    "code",
    "apikey",
    "sv",
    "x-amz-signature",
    "x-goog-signature",
    "access_key",
    "auth",
    "sid",
    "hash",
];

fn query(url: &str, base: usize, found: &mut Vec<Range<usize>>) {
    let Some(start) = url.find('?').or_else(|| url.find('#')) else { return };
    let mut at = start + 1;
    for pair in url.get(at..).unwrap_or_default().split(['&', ';', '#']) {
        if let Some((name, value)) = pair.split_once('=') {
            let lower = name.to_ascii_lowercase();
            let by_parameter = PARAMETERS.contains(&lower.as_str())
                && value.len() >= 8
                && !forms::is_word(value)
                && !forms::is_quantity(value);
            let value = value.trim_end_matches([')', ']', ',']);
            if !forms::is_reference(value) && (by_parameter || names::is_secret(name, value)) {
                found.push(base + at + name.len() + 1..base + at + name.len() + 1 + value.len());
            }
        }
        at += pair.len() + 1;
    }
}

/// Words with a user and a password but without a scheme.
fn words(text: &str, found: &mut Vec<Range<usize>>) {
    if !text.contains('@') {
        return;
    }
    let mut at = 0;
    for word in text.split(|c: char| c.is_whitespace() || "\"'`<>,".contains(c)) {
        if word.contains('@')
            && !word.contains("://")
            && let Some(password) = password_of_word(word)
        {
            found.push(at + password.start..at + password.end);
        }
        at += word.len()
            + text.get(at + word.len()..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    }
}

/// The password of `user:password@host`, `user:password@tcp(host:3306)/db`, `jdbc:oracle:thin:scott/tiger@//host`.
fn password_of_word(word: &str) -> Option<Range<usize>> {
    let begin = word
        .rfind('=')
        .filter(|equals| word.get(..*equals).is_some_and(|before| !before.contains('@')))
        .map_or(0, |at| at + 1);
    let oracle = word.find("oracle:thin:").map(|at| at + "oracle:thin:".len());
    let start = oracle.unwrap_or(begin);
    let rest = word.get(start..)?;
    let at = rest.rfind('@')?;
    let (user, host) = (rest.get(..at)?, rest.get(at + 1..)?);
    let separator = if oracle.is_some() || host.starts_with("//") { user.find('/') } else { user.find(':') }?;
    let (name, password) = (user.get(..separator)?, user.get(separator + 1..)?);
    let digest = ["sha256:", "sha512:", "sha1:"].iter().any(|scheme| host.starts_with(scheme));
    let legal = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-%+".contains(c));
    let host_like = host.starts_with(|c: char| c.is_ascii_alphanumeric() || "/([$".contains(c));
    (legal && host_like && !digest && !password.is_empty() && !forms::is_reference(password))
        .then(|| start + separator + 1..start + at)
}
