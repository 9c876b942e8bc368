//! Normalisation of error messages that differ only in detail.

use std::borrow::Cow;

/// Maximum length of a normalised message in characters.
const LONGEST: usize = 180;

/// Maximum length of the tail of an `error…:` message that is not shortened, in characters.
const LONGEST_TAIL: usize = 120;

/// The paper's normalisation: trim, and collapse whitespace; cut a message with ` not found` before its first `{`; cut
/// a message that begins with `error` and has more than 120 characters after its first `:` before its second `:`; cut a
/// message of more than 180 characters after 177 and append `...`.
pub(crate) fn normalise(message: &str) -> String {
    let mut text = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.contains(" not found")
        && let Some((head, _)) = text.split_once('{')
    {
        text = head.trim().to_owned();
    }
    let shortened = shorten_error(&text).into_owned();
    if shortened.chars().count() > LONGEST {
        return shortened.chars().take(LONGEST - 3).chain("...".chars()).collect();
    }
    shortened
}

fn shorten_error(text: &str) -> Cow<'_, str> {
    let is_error = text.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("error"));
    match text.split_once(':') {
        Some((prefix, tail)) if is_error && tail.trim().chars().count() > LONGEST_TAIL => {
            let kept = tail.trim().split(':').next().unwrap_or_default().trim();
            Cow::Owned(format!("{prefix}: {kept}"))
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_worded_alike() {
        assert_eq!(normalise("  a \n\t b "), "a b");
        assert_eq!(normalise("member 'spec' not found in {'a': 1}"), "member 'spec' not found in");
        assert_eq!(normalise("{'a'} was not found"), "");
        assert_eq!(normalise("no brace was not found"), "no brace was not found");
        let long = "x".repeat(121);
        assert_eq!(normalise(&format!("Error from server: cause: {long}")), "Error from server: cause");
        let short = "error: cause: why";
        assert_eq!(normalise(short), short);
        assert_eq!(normalise(&"ä".repeat(181)), format!("{}...", "ä".repeat(177)));
        assert_eq!(normalise(&"ä".repeat(180)), "ä".repeat(180));
        assert_eq!(normalise("erro\u{e4}"), "erro\u{e4}");
    }
}
