//! Bodies that are not JSON: what came, and what to do.

use crate::error::{Failure, quoted};
use crate::mask::KeyMask;

/// So many bytes of a body are looked at for its first words.
const FIRST: usize = 16 << 10;

/// Says of the body of a reply with status 2xx why it is no answer.
pub(super) fn not_json(body: &[u8], error: &serde_json::Error, mask: &KeyMask) -> Failure {
    let text = first_text(body);
    let begin = text.trim_start();
    if is_event_stream(begin) {
        return Failure::OtherFormat(
            "an event stream came, which was not asked for: switch streaming off at the server or gateway"
                .to_owned(),
        );
    }
    if is_json_lines(begin) {
        return Failure::OtherFormat(
            "a stream of JSON lines came, which was not asked for: switch streaming off at the server or gateway"
                .to_owned(),
        );
    }
    if begin.starts_with('<') {
        return Failure::OtherFormat(format!(
            "a page came in place of JSON ({}): is the endpoint right, or does a login page or a proxy stand between?",
            words(body, mask)
        ));
    }
    Failure::Garbage(if begin.is_empty() {
        "its body is empty".to_owned()
    } else if std::str::from_utf8(body).is_err() {
        "it is not text in UTF-8".to_owned()
    } else if begin.starts_with(['{', '[']) {
        let cut = if error.is_eof() { "; it is cut off" } else { "" };
        format!("not valid JSON: {error}{cut}")
    } else {
        format!("a text came in place of JSON: {}", words(body, mask))
    })
}

/// The first words of a page or a text, with the key masked, also where tags stand within it.
pub(super) fn words(body: &[u8], mask: &KeyMask) -> String {
    let text = mask.text(&first_text(body));
    let text = text.trim_start();
    if !text.starts_with('<') {
        return quoted(text);
    }
    let joined = without_tags(text, "");
    let masked = mask.text(&joined);
    if masked != joined {
        return quoted(&masked);
    }
    let title = element(text, "title").map(|title| quoted(&without_tags(title, " ")));
    title.filter(|title| !title.is_empty()).unwrap_or_else(|| quoted(&without_tags(text, " ")))
}

/// Without a byte order mark.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The beginning of a body as text.
fn first_text(body: &[u8]) -> String {
    let body = without_mark(body);
    String::from_utf8_lossy(body.get(..FIRST).unwrap_or(body)).into_owned()
}

/// Whether a text is a stream of server-sent events.
pub(super) fn is_event_stream(text: &str) -> bool {
    ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| text.starts_with(field))
}

/// Whether the first lines of a text are JSON objects, each on a line of its own.
fn is_json_lines(text: &str) -> bool {
    let is_object = |line: &str| {
        line.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(line.trim_end()).is_ok()
    };
    text.split_once('\n').is_some_and(|(first, rest)| {
        is_object(first) && rest.trim_start().lines().next().is_some_and(is_object)
    })
}

/// The content of the first element of this name, which is in small letters.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let small = text.to_ascii_lowercase();
    let open = small.find(&format!("<{name}"))?;
    let begin = open + small.get(open..)?.find('>')? + 1;
    let end = begin + small.get(begin..)?.find(&format!("</{name}"))?;
    text.get(begin..end)
}

/// A page without what is not shown, and with `between` in place of each tag.
fn without_tags(text: &str, between: &str) -> String {
    // Letters of ASCII alone change, so places stay.
    let small = text.to_ascii_lowercase();
    let (mut shown, mut at) = (String::new(), 0);
    while let Some(rest) = small.get(at..).filter(|rest| !rest.is_empty()) {
        let open = rest.find('<').unwrap_or(rest.len());
        shown.push_str(text.get(at..at + open).unwrap_or_default());
        let tag = rest.get(open..).unwrap_or_default();
        if tag.is_empty() {
            break;
        }
        shown.push_str(between);
        let end = match tag {
            _ if tag.starts_with("<!--") => "-->",
            _ if tag.starts_with("<script") => "</script>",
            _ if tag.starts_with("<style") => "</style>",
            _ => ">",
        };
        let Some(length) = tag.find(end) else { break };
        at += open + length + end.len();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_page_are_its_title_or_its_text() {
        for (page, shown) in [
            (
                "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>",
                "502 Bad Gateway",
            ),
            ("<!DOCTYPE html><TITLE lang=en>Sign\nin</TITLE>", "Sign in"),
            ("<html><title> </title><h1>404 page not found</h1></html>", "404 page not found"),
            ("<p>a<script>var b = '<p>';</script><!-- c > --><style>d{}</style>e", "a e"),
            ("<Error><Code>AccessDenied</Code><Message>No</Message></Error>", "AccessDenied No"),
            ("<title>never closed", "never closed"),
            ("<", ""),
            ("<é<é", ""),
            ("upstream request timeout", "upstream request timeout"),
        ] {
            assert_eq!(words(page.as_bytes(), &KeyMask::default()), shown, "{page}");
        }
    }

    #[test]
    fn a_key_in_pieces_is_masked() {
        let mask = KeyMask::new("my-own-kind-of-key");
        assert_eq!(words(b"<p>key: my-own-<b>kind</b>-of-key", &mask), "key: ***");
        assert_eq!(words(b"<p>my-own-kind-of-key</p>", &mask), "***");
        assert_eq!(words(b"<title>my-own<!-- -->-kind-of-key</title>", &mask), "***");
    }
}
