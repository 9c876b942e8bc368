//! Findings as `JUnit` XML, which CI services show as tests: a suite a file, a case a finding.
//!
//! Our own: a few lines, where a crate for it would bring a parser of XML.

use std::fmt::Write as _;
use std::io::{self, Write};

use cli_support::escape::visible;

use super::review::Reviewed;
use super::unread::{CHECK, Unread};
use super::{Located, check_name, object_name};

/// Begins the report.
pub(crate) fn begin(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"k8s-auto-fix\">\n")
}

/// The suite of a file: a case for each finding and for each document that cannot be read, and one that passes where there is
/// none. `written`: fixed findings pass.
pub(crate) fn suite(
    out: &mut impl Write,
    path: &str,
    found: &[(&Located, Option<&Reviewed<'_>>)],
    unread: &[Unread],
    written: bool,
) -> io::Result<()> {
    let passes = |reviewed: Option<&Reviewed<'_>>| {
        written && reviewed.is_some_and(|reviewed| reviewed.outcome.is_fixed())
    };
    let failures = found.iter().filter(|(_, reviewed)| !passes(*reviewed)).count();
    let path = attribute(path);
    let errors = unread.iter().filter(|unread| unread.level() == "error").count();
    let mut counts = format!("tests=\"{}\" failures=\"{failures}\"", (found.len() + unread.len()).max(1));
    if !unread.is_empty() {
        let _ = write!(counts, " errors=\"{errors}\" skipped=\"{}\"", unread.len() - errors);
    }
    let mut text = format!("<testsuite name=\"{path}\" {counts}>\n");
    if found.is_empty() && unread.is_empty() {
        let _ = writeln!(text, "<testcase classname=\"{path}\" name=\"no violations\"/>");
    }
    for (found, reviewed) in found {
        let (check, object) = (check_name(found), object_name(found));
        let name = attribute(&format!("{check} {object} {}", found.position()));
        let line = found.region.map(|region| format!(" line=\"{}\"", region.line)).unwrap_or_default();
        let policy = attribute(found.policy.as_str());
        let message = reviewed
            .map_or_else(|| found.message.clone() + &found.noted(), |reviewed| reviewed.told().message);
        let message = attribute(&message);
        let _ = write!(text, "<testcase classname=\"{path}\" name=\"{name}\" file=\"{path}\"{line}>");
        if passes(*reviewed) {
            let _ = write!(text, "<system-out>{message}</system-out>");
        } else {
            let _ = write!(text, "<failure type=\"{policy}\" message=\"{message}\"/>");
        }
        text.push_str("</testcase>\n");
    }
    for unread in unread {
        let line = unread.line.map(|line| format!(" line=\"{line}\"")).unwrap_or_default();
        let position = unread.line.map(|line| format!(" {line}")).unwrap_or_default();
        let message = attribute(&unread.text());
        let became = match unread.level() {
            "error" => format!("<error type=\"{CHECK}\" message=\"{message}\"/>"),
            _ => format!("<skipped message=\"{message}\"/>"),
        };
        let _ = writeln!(
            text,
            "<testcase classname=\"{path}\" name=\"{CHECK}{position}\" file=\"{path}\"{line}>{became}</testcase>"
        );
    }
    text.push_str("</testsuite>\n");
    out.write_all(text.as_bytes())
}

/// Ends the report.
pub(crate) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"</testsuites>\n")
}

/// Text as the value of an attribute, or as content.
fn attribute(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            // No characters of XML.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::found;

    #[test]
    fn whatever_a_finding_holds_is_text() {
        let found = found("a<b>&\"'.yaml", "x\u{0}\u{ffff}\n]]>");
        let mut out = Vec::new();
        begin(&mut out).unwrap();
        suite(&mut out, &found.path, &[(&found, None)], &[], false).unwrap();
        end(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("name=\"a&lt;b&gt;&amp;&quot;&apos;.yaml\" tests=\"1\" failures=\"1\""),
            "{text}"
        );
        assert!(text.contains("message=\"x\\u{0}\u{fffd}&#10;]]&gt;\""), "{text}");
    }
}
