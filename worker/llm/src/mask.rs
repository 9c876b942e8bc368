//! Finds our own API key in what a provider sends, and masks it.
//!
//! The key is compared with, not guessed by its shape (`error::quoted` guesses as well, as a second net). A character of the
//! key may be percent-encoded or escaped as in JSON, any number of times over; the key may be part of a longer text in
//! base64. The beginning of a key counts too, because providers and we ourselves shorten texts.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use domain::secret::Secret;
use serde_json::Value;

/// What stands in the place of a key.
const MASK: &[u8] = b"***";

/// A key shorter than this is masked only where it stands alone as a word, and never in the answer of a model: it is a
/// word like others (`EMPTY`, `test`), and masking it would change answers.
const SHORT: usize = 8;

/// So many characters of the beginning of a key are masked, if they are half of it.
const PREFIX: usize = 12;

/// Masks one key. The default masks nothing.
#[derive(Clone, Default)]
pub struct KeyMask {
    /// The key, then its forms in base64.
    needles: Vec<Secret<Vec<u8>>>,
    is_short: bool,
}

impl fmt::Debug for KeyMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMask").finish_non_exhaustive()
    }
}

impl KeyMask {
    /// Masks this key.
    pub fn new(key: &str) -> Self {
        let mut needles = vec![key.as_bytes().to_vec()];
        let is_short = key.len() < SHORT;
        if !is_short {
            // Three bytes make four characters: where the key begins within three decides its form.
            for offset in 0..3 {
                let text = [&b"\0\0"[..offset], key.as_bytes()].concat();
                // The first and the last character may hold bits of what stands beside the key.
                let (first, last) = ((offset * 8).div_ceil(6), text.len() * 8 / 6);
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    needles.extend(encoded.as_bytes().get(first..last).map(<[u8]>::to_vec));
                }
            }
        }
        needles.retain(|needle| !needle.is_empty());
        needles.dedup();
        Self { needles: needles.into_iter().map(Secret::new).collect(), is_short }
    }

    /// Masks the key in every text of a body with an error, names of fields included.
    pub(crate) fn error(&self, body: &mut Value) {
        self.each(body, true);
    }

    /// Masks the key in every text of a body with an answer, unless the key is short.
    pub(crate) fn answer(&self, body: &mut Value) {
        self.each(body, false);
    }

    fn each(&self, value: &mut Value, also_short: bool) {
        if self.needles.is_empty() || (self.is_short && !also_short) {
            return;
        }
        match value {
            Value::String(text) => {
                if let Some(masked) = self.find(text) {
                    *text = masked;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.each(value, also_short)),
            Value::Object(fields) => {
                // A name of a field can be shown as well, where an error has no words.
                if fields.keys().any(|name| self.find(name).is_some()) {
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(name, value)| (self.find(&name).unwrap_or(name), value))
                        .collect();
                }
                fields.values_mut().for_each(|value| self.each(value, also_short));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `text` with the key masked.
    pub fn text(&self, text: &str) -> String {
        self.find(text).unwrap_or_else(|| text.to_owned())
    }

    /// The masked text; `None` where the key is not in it.
    fn find(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        let mut masked: Option<Vec<u8>> = None;
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            let Some(end) = self.needles.iter().filter_map(|needle| self.ends(bytes, at, needle)).max()
            else {
                at += 1;
                continue;
            };
            let masked = masked.get_or_insert_default();
            masked.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
            masked.extend_from_slice(MASK);
            (at, copied) = (end, end);
        }
        let mut masked = masked?;
        masked.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        // A key is ASCII in all but rare cases; a part of a longer character cannot stay.
        Some(String::from_utf8_lossy(&masked).into_owned())
    }

    /// Where a key that begins at `at` ends; `None` where none begins.
    fn ends(&self, text: &[u8], at: usize, needle: &Secret<Vec<u8>>) -> Option<usize> {
        let needle = needle.expose();
        let (mut end, mut found) = (at, 0);
        for byte in needle {
            let Some(length) = length_of(*byte, text.get(end..).unwrap_or_default()) else { break };
            end += length;
            found += 1;
        }
        if self.is_short {
            let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            return (found == needle.len() && !is_word(before) && !is_word(text.get(end))).then_some(end);
        }
        (found == needle.len() || (found >= PREFIX && found * 2 >= needle.len())).then_some(end)
    }
}

/// How many bytes at the beginning of `text` stand for `byte`: itself, `%41`, `\u0041`, `\A`, with any number of
/// backslashes; `None`: they stand for another one.
fn length_of(byte: u8, text: &[u8]) -> Option<usize> {
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    match text {
        [b'%', first, second, ..] if hex(&[*first, *second]) == Some(byte.into()) => return Some(3),
        [b'\\', ..] => {
            let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
            match text.get(slashes..)? {
                [b'u', a, b, c, d, ..] if hex(&[*a, *b, *c, *d]) == Some(byte.into()) => {
                    return Some(slashes + 5);
                }
                [next, ..] if *next == byte => return Some(slashes + 1),
                _ => {}
            }
        }
        _ => {}
    }
    (text.first() == Some(&byte)).then_some(1)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const KEY: &str = "vllm-prod-key-Zq7+w/E3=x";

    #[test]
    fn a_key_is_masked_in_every_form() {
        let mask = KeyMask::new(KEY);
        let percent = KEY.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
        let escaped = KEY.bytes().map(|byte| format!("\\u{byte:04X}")).collect::<Vec<_>>().concat();
        for (form, left) in [
            (format!("no {KEY}!"), "no ***!".to_owned()),
            (format!("key={KEY},'{KEY}'"), "key=***,'***'".to_owned()),
            (KEY.replace('/', "\\/"), "***".to_owned()),
            (KEY.replace('/', "\\\\\\/"), "***".to_owned()),
            (KEY.replace('+', "%2B").replace('/', "%2f"), "***".to_owned()),
            (percent, "***".to_owned()),
            (escaped.replace('\\', "\\\\"), "***".to_owned()),
            (escaped, "***".to_owned()),
            (format!("ü{KEY}ü"), "ü***ü".to_owned()),
            ("vllm-prod-key-Z…".to_owned(), "***…".to_owned()),
            ("the vllm-prod key".to_owned(), "the vllm-prod key".to_owned()),
        ] {
            assert_eq!(mask.text(&form), left, "{form}");
        }
    }

    #[test]
    fn a_key_within_base64_is_masked_wherever_it_begins() {
        let mask = KeyMask::new(KEY);
        for before in ["", "a", "ab", "abc", "user:", "Bearer "] {
            for after in ["", "z", "zz", ":x"] {
                let text = format!("{before}{KEY}{after}");
                for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let masked = mask.text(&format!("sent {encoded}."));
                    assert!(masked.contains("***"), "{text}: {masked}");
                    // What is left are the characters that also hold bits of the text beside the key.
                    let left = masked.len() - "sent ***.".len();
                    assert!(left <= (before.len() + after.len()) * 4 / 3 + 7, "{text}: {masked}");
                }
            }
        }
    }

    #[test]
    fn a_short_key_is_a_word_and_an_answer_keeps_it() {
        let mask = KeyMask::new("EMPTY");
        assert_eq!(mask.text("wrong key EMPTY, not EMPTYDIR"), "wrong key ***, not EMPTYDIR");
        let mut body = serde_json::json!({"choices": [{"message": {"content": "EMPTY"}}]});
        let before = body.clone();
        mask.answer(&mut body);
        assert_eq!(body, before);
        mask.error(&mut body);
        assert_ne!(body, before);
        assert_eq!(KeyMask::default().text("anything"), "anything");
        assert!(!format!("{:?}", KeyMask::new(KEY)).contains("prod"));
    }

    #[test]
    fn no_text_panics_and_what_is_no_key_stays() {
        let mask = KeyMask::new("kkkkkkkk%\\u%");
        let pieces = ["k", "kkkk", "%", "%6b", "%6", "\\", "\\u", "\\u006b", "\\u00", "ü", "\u{10ffff}", " "];
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(..12)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            let masked = mask.text(&text);
            assert!(masked == text || masked.contains("***"), "{text}");
            assert!(!masked.contains("kkkkkkkk%\\u%"), "{text}");
        }
    }
}
