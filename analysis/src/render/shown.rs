//! Texts from manifests, made safe to print.

use std::borrow::Cow;

use cli_support::output::visible;

/// Escapes control characters and the characters that change the direction of text.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text = visible(text);
    if !text.contains(turns) {
        return text;
    }
    Cow::Owned(
        text.chars().map(|c| if turns(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_shown() {
        assert_eq!(shown("a\u{202e}b\u{1b}c\nd"), "a\\u{202e}b\\u{1b}c\nd");
        assert!(matches!(shown("plain ä"), Cow::Borrowed(_)));
    }
}
