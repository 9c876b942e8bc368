//! Texts in base64: whole ones, and words inside others.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Context, DEEPEST, holds};

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);

/// Shortest word that is decoded: `user:pw` has twelve.
const SHORTEST: usize = 8;

/// Adds the words that are secrets in base64.
pub(super) fn find(text: &str, context: Context, found: &mut Vec<Range<usize>>) {
    if context.depth >= DEEPEST || text.len() < SHORTEST {
        return;
    }
    if text.trim_end().contains('\n') && is_wrapped(text) {
        let joined: String = text.split_whitespace().collect();
        if is_secret(&joined, context) {
            found.push(0..text.len());
        }
        return;
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-');
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| legal(**byte)).count();
        let padding = rest.iter().skip(length).take(2).take_while(|byte| **byte == b'=').count();
        let whole = at..at + length + padding;
        if length >= SHORTEST && text.get(whole.clone()).is_some_and(|word| is_secret(word, context)) {
            found.push(whole);
        }
        at += (length + padding).max(1);
    }
}

/// A text of lines of base64, as `base64` writes it.
fn is_wrapped(text: &str) -> bool {
    let mut lines = text.split('\n').map(str::trim);
    lines.next().is_some_and(|first| first.len() >= 60)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/_-=\n\r ".contains(&byte))
}

fn is_secret(word: &str, context: Context) -> bool {
    decode(word).is_some_and(|text| {
        is_pair(&text) || holds(&text, Context { depth: context.depth + 1, ..context }) || is_marked(&text)
    })
}

/// A text that begins with what only credentials begin with.
fn is_marked(text: &str) -> bool {
    text.starts_with("PK\u{3}") || text.starts_with("ssh-rsa-cert")
}

/// What a word stands for, where that is text.
pub(crate) fn decode(word: &str) -> Option<String> {
    // Words of small letters alone are words; base64 of a text has capitals or digits.
    if !word.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        || word.trim_end_matches('=').len() % 4 == 1
    {
        return None;
    }
    let engine = if word.contains(['_', '-']) { &FOR_URLS } else { &PLAIN };
    let text = String::from_utf8(engine.decode(word.trim_end_matches('=')).ok()?).ok()?;
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    (text.len() >= 5 && text.chars().all(printable) && text.is_ascii()).then_some(text)
}

/// Whether a word is base64 of a user and a password, as `docker login` and basic authentication write them, or is such
/// a pair in the clear.
pub(crate) fn is_pair(text: &str) -> bool {
    let plain = |text: &str| {
        let Some((user, password)) = text.trim_end().split_once(':') else { return false };
        let legal = |c: char| c.is_alphanumeric() || "._-@+".contains(c);
        let host = user.contains('.') || password.contains("//") || password.starts_with([' ', '/', '\n']);
        !user.is_empty()
            && user.chars().all(legal)
            && password.len() >= 2
            && !password.contains(char::is_whitespace)
            && !password.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && (!host || user.contains('@'))
    };
    decode(text).is_some_and(|decoded| plain(&decoded) && !decoded.contains("::"))
}
