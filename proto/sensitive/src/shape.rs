//! Secrets by their shape alone: tokens of vendors, keys in PEM, hashes of passwords, random texts.

use std::ops::Range;
use std::sync::LazyLock;

use crate::boundaries;
use crate::forms::{changes, is_uuid};
use crate::names::holds_hashes;

/// Adds the secrets that `text` shows by its shape. `hashes`: whether digests and ids are usual here, so that a random
/// text says nothing.
pub(crate) fn find(text: &str, hashes: bool, found: &mut Vec<Range<usize>>) {
    pem(text, found);
    if text.len() < SHORTEST {
        return;
    }
    vendors(text, found);
    crypt(text, found);
    if !hashes && text.len() >= SHORTEST_RANDOM {
        random(text, found);
    }
}

/// No shape is shorter.
const SHORTEST: usize = 16;

/// No text shorter than this is random.
pub(crate) const SHORTEST_RANDOM: usize = 20;

/// `-----BEGIN … -----END …-----`, or to the end of the text.
fn pem(text: &str, found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find("-----BEGIN ")).map(|at| from + at) {
        let rest = text.get(at + 11..).unwrap_or_default();
        let end = rest.find("-----END ").and_then(|end| {
            let after = at + 11 + end + 9;
            text.get(after..)?.find("-----").map(|dashes| after + dashes + 5)
        });
        let end = end.unwrap_or(text.len());
        found.push(at..end);
        from = end;
    }
}

/// One part of a pattern.
#[derive(Debug, Clone)]
enum Part {
    Literal(Vec<u8>),
    Class { class: u8, least: usize, most: usize },
}

/// The patterns by the byte they begin with; those that begin with a class stand under every byte of it.
static VENDORS: LazyLock<Vec<Vec<Vec<Part>>>> = LazyLock::new(|| {
    let mut by_byte: Vec<Vec<Vec<Part>>> = vec![Vec::new(); 256];
    for line in include_str!("vendors.tsv").lines().filter(|line| !line.starts_with('#')) {
        let Some(pattern) = line.split('\t').nth(1).and_then(parse) else { continue };
        for byte in 0..=u8::MAX {
            let begins = match pattern.first() {
                Some(Part::Literal(literal)) => literal.first() == Some(&byte),
                Some(Part::Class { class, .. }) => in_class(*class, byte),
                None => false,
            };
            if begins && let Some(patterns) = by_byte.get_mut(usize::from(byte)) {
                patterns.push(pattern.clone());
            }
        }
    }
    by_byte
});

/// What the patterns with a blank begin with.
static TWO_WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let first = VENDORS.iter().flatten().filter_map(|pattern| match pattern.first() {
        Some(Part::Literal(literal)) => Some(literal),
        _ => None,
    });
    first.filter(|literal| literal.iter().any(u8::is_ascii_whitespace)).cloned().collect()
});

/// A pattern of the table; `None` where it is malformed.
fn parse(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            parts.push(Part::Literal(rest.as_bytes().to_vec()));
            break;
        };
        if open > 0 {
            parts.push(Part::Literal(rest.get(..open)?.as_bytes().to_vec()));
        }
        let close = rest.find('}')?;
        let (class, count) = rest.get(open + 1..close)?.split_once(':')?;
        let (least, most) = count.split_once('-').unwrap_or((count, count));
        let most = if most.is_empty() { usize::MAX } else { most.parse().ok()? };
        parts.push(Part::Class { class: *class.as_bytes().first()?, least: least.parse().ok()?, most });
        rest = rest.get(close + 1..)?;
    }
    Some(parts)
}

const fn in_class(class: u8, byte: u8) -> bool {
    match class {
        b'd' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_hexdigit(),
        b'l' => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        b'u' => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        b'w' => byte.is_ascii_alphanumeric(),
        b's' => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
        b't' => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b'+' | b'/'),
        b'b' => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-'),
        _ => false,
    }
}

/// Length of the match of a pattern at the beginning of `bytes`. Classes take all they can: none is followed by a part
/// that begins with one of its own characters.
fn matched(pattern: &[Part], bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in pattern {
        let rest = bytes.get(at..)?;
        match part {
            Part::Literal(literal) => {
                at += rest.starts_with(literal).then_some(literal.len())?;
            }
            Part::Class { class, least, most } => {
                // Most words are too short: that is seen at the last character that there must be.
                if *least > 0 && !rest.get(least - 1).is_some_and(|byte| in_class(*class, *byte)) {
                    return None;
                }
                let run = rest.iter().take(*most).take_while(|byte| in_class(*class, **byte)).count();
                at += (run >= *least).then_some(run)?;
            }
        }
    }
    Some(at)
}

const fn is_wordy(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn vendors(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let (mut at, mut blank) = (0, 0);
    while at < bytes.len() {
        // A short word is none of them, but for those that begin with two words.
        let word = bytes.get(at..).unwrap_or_default();
        if at >= blank {
            blank = at + word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
        }
        if blank - at < SHORTEST && !TWO_WORDS.iter().any(|begin| word.starts_with(begin)) {
            at = blank + 1;
            continue;
        }
        let border = at == 0 || bytes.get(at - 1).is_some_and(|before| !is_wordy(*before));
        let byte = bytes.get(at).copied().unwrap_or_default();
        let patterns = VENDORS.get(usize::from(byte)).filter(|_| border);
        let length = patterns.into_iter().flatten().find_map(|pattern| {
            let length = matched(pattern, bytes.get(at..)?)?;
            let ends = bytes.get(at + length).is_none_or(|after| !is_wordy(*after));
            (length >= SHORTEST && ends && is_token(pattern, bytes.get(at..at + length)?)).then_some(length)
        });
        match length {
            Some(length) => {
                found.push(at..at + length);
                at += length;
            }
            None => at += 1,
        }
    }
}

/// Whether what a pattern without a distinctive beginning matched is random: `{l:6}.{l:16}` matches names too.
fn is_token(pattern: &[Part], text: &[u8]) -> bool {
    let distinctive = match pattern.first() {
        Some(Part::Literal(literal)) => literal.len() >= 3,
        _ => false,
    };
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = text.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    distinctive && digits + letters > 8 && (digits > 0 || !reads(text))
        || (digits >= 4 && letters >= 4 && std::str::from_utf8(text).is_ok_and(|text| changes(text) >= 0.1))
}

/// Small letters and dashes only.
fn reads(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
}

/// Hashes of passwords as files of users hold them: `$apr1$…`, `$6$…`, `{SHA}…`.
fn crypt(text: &str, found: &mut Vec<Range<usize>>) {
    const SCHEMES: [&str; 12] = [
        "$apr1$", "$1$", "$5$", "$6$", "$y$", "$argon2", "$pbkdf2", "$scrypt$", "{SHA}", "{SSHA}",
        "{SHA256}", "{MD5}",
    ];
    let dollar = text.contains('$');
    let brace = ["{S", "{M"].iter().any(|begin| text.contains(begin));
    for scheme in SCHEMES.iter().filter(|scheme| if scheme.starts_with('$') { dollar } else { brace }) {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(*scheme)).map(|at| from + at) {
            let rest = text.get(at + scheme.len()..).unwrap_or_default();
            let length = rest.find(|c: char| c.is_whitespace() || "\"':".contains(c)).unwrap_or(rest.len());
            if length >= 8 {
                found.push(at..at + scheme.len() + length);
            }
            from = at + scheme.len() + length;
        }
    }
}

/// Words that do not read as language: base64, base62, hexadecimal, UUIDs.
fn random(text: &str, found: &mut Vec<Range<usize>>) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-' | b'=');
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| legal(**byte)).count();
        if length >= SHORTEST_RANDOM
            && let Some(run) = text.get(at..at + length)
        {
            let before = text.get(..at).unwrap_or_default();
            if !is_announced(before) && !is_part_of_name(bytes, at, length) {
                run_of(run, at, before, found);
            }
        }
        at += length.max(1);
    }
}

/// A digest or an id is announced: `sha256:…`, `"uid": "…"`, `arn:aws:acm:…`.
fn is_announced(before: &str) -> bool {
    let near = before.get(boundaries::ceil(before, before.len().saturating_sub(80))..).unwrap_or_default();
    let name = near.trim_end_matches([' ', '"', '\'', '\\', ':', '=']);
    let start =
        name.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').map_or(0, |at| at + 1);
    let name = name.get(start..).unwrap_or_default();
    (name.len() < near.len() && !near.ends_with(name) && holds_hashes(name))
        || near.contains("arn:aws:")
        || near.ends_with("sha512-")
}

/// Between dots stand the parts of a name, in front of a bracket the name of a function.
fn is_part_of_name(bytes: &[u8], at: usize, length: usize) -> bool {
    let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_lowercase);
    let dot_after = bytes.get(at + length) == Some(&b'.') && letter(bytes.get(at + length + 1));
    let dot_before = at >= 2 && bytes.get(at - 1) == Some(&b'.') && letter(bytes.get(at - 2));
    dot_after || dot_before
}

fn run_of(run: &str, at: usize, before: &str, found: &mut Vec<Range<usize>>) {
    let bare = run.trim_end_matches('=');
    let in_path = before.ends_with('/') || run.starts_with('/') || before.ends_with("://");
    if !in_path && is_random(run) {
        found.push(at..at + run.len());
        return;
    }
    // Parts of paths, values of `name=value`.
    let commit = in_path || bare.contains('/');
    let mut from = 0;
    for part in bare.split(['/', '=']) {
        let hash =
            commit && matches!(part.len(), 40 | 64) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if part.len() >= SHORTEST_RANDOM && !hash && is_random(part) {
            found.push(at + from..at + from + part.len());
        }
        from += part.len() + 1;
    }
}

/// Long, in a mix of characters that no name has.
fn is_random(word: &str) -> bool {
    let bare = word.trim_end_matches('=');
    if bare.len() < SHORTEST_RANDOM || bare.contains('=') {
        return false;
    }
    let count = |test: fn(&u8) -> bool| bare.as_bytes().iter().copied().filter(test).count();
    let (upper, lower, digits) =
        (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase), count(u8::is_ascii_digit));
    if is_uuid(bare) {
        return true;
    }
    if bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return bare.len() >= 24
            && digits > 0
            && upper + lower > 0
            && entropy(bare) > 2.5
            && (upper == 0 || lower == 0);
    }
    let wordy = bare
        .split(['-', '_', '/', '+'])
        .filter(|part| part.len() >= 4 && is_wordlike(part))
        .map(str::len)
        .sum::<usize>();
    if wordy * 2 > bare.len()
        || (bare.contains('/') && bare.split('/').any(|part| part.len() >= 3 && is_wordlike(part)))
    {
        return false;
    }
    if upper > 0 && lower > 0 && digits > 0 {
        return entropy(bare) > 3.7 && changes(bare) >= 0.25;
    }
    digits >= 4
        && (upper > 0) != (lower > 0)
        && bare.len() >= 24
        && !bare.contains(['-', '_'])
        && entropy(bare) > 3.5
        && changes(bare) >= 0.3
}

/// Letters with few changes of case, perhaps with a number behind.
fn is_wordlike(part: &str) -> bool {
    let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
    !stem.is_empty()
        && part.len() - stem.len() <= 4
        && stem.bytes().all(|byte| byte.is_ascii_alphabetic())
        && changes(stem) < 0.3
}

/// Bits per character.
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 128];
    for byte in word.bytes().filter(u8::is_ascii) {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
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

    fn shapes(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, false, &mut found);
        found.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_line_of_the_table_is_a_pattern() {
        for line in include_str!("vendors.tsv").lines().filter(|line| !line.starts_with('#')) {
            let pattern = line.split('\t').nth(1).unwrap_or_default();
            let parts = parse(pattern).unwrap_or_default();
            // A blank stands in the first part alone.
            let is_one_word = |part: &Part| match part {
                Part::Literal(literal) => !literal.iter().any(u8::is_ascii_whitespace),
                Part::Class { class, .. } => {
                    !(0..=u8::MAX).any(|byte| in_class(*class, byte) && byte.is_ascii_whitespace())
                }
            };
            assert!(!parts.is_empty() && parts.iter().skip(1).all(is_one_word), "{line}");
        }
    }

    #[test]
    fn a_token_of_two_words_is_found_behind_short_words() {
        let text = "run it with FlyV1 fm2_lJPECAAAAAAAB5uVxBBtokenKf0aB3 now";
        assert!(shapes(text).contains(&"FlyV1 fm2_lJPECAAAAAAAB5uVxBBtokenKf0aB3"), "{:?}", shapes(text));
    }

    #[test]
    fn names_have_no_shape_of_a_secret() {
        for text in [
            "gcr.io/google-samples/node-hello:1.0",
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "app.kubernetes.io/managed-by",
            "my-very-long-deployment-name-7d9f8b6c5d",
            "echo Hello from the Kubernetes cluster && sleep 3600",
            "requiredDuringSchedulingIgnoredDuringExecution",
            "nginx@sha256:5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99",
            "https://raw.githubusercontent.com/a/b/5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b/x.yaml",
            "org.springframework.boot.autoconfigure.EnableAutoConfiguration2",
        ] {
            assert_eq!(shapes(text), Vec::<&str>::new(), "{text}");
        }
    }
}
