//! Findings as `rdjson`, the Reviewdog Diagnostic Format: reviewdog posts its suggestions as those of a pull request.
//!
//! *Invariant*: columns count bytes of UTF-8 from 1, as the format has it.

use cli_support::escape::visible;
use serde_json::{Value, json};

use super::review::{Replacement, Reviewed, replacements};
use super::{Lines, Located, Region, check_name, object_name};

/// What a file of diagnostics begins with, before their list.
pub(crate) fn source() -> Value {
    json!({"name": "k8s-auto-fix"})
}

/// A diagnostic. `text`: that of its file.
pub(crate) fn diagnostic(
    found: &Located,
    reviewed: Option<&Reviewed<'_>>,
    text: &str,
    lines: &Lines,
) -> Value {
    let message = reviewed.map_or_else(|| found.message.clone(), |reviewed| reviewed.told().message);
    let mut diagnostic = json!({
        "message": visible(&format!("{message}{} ({})", found.rendering(), object_name(found))),
        "location": {"path": found.path.strip_prefix("./").unwrap_or(&found.path)},
        "severity": if found.severity == "error" { "ERROR" } else { "WARNING" },
        "code": {"value": check_name(found)},
    });
    if let Some(region) = &found.region {
        diagnostic["location"]["range"] = range(lines.in_bytes(text, region));
    }
    // A suggestion changes one file: that of its diagnostic.
    if let Some(fix) =
        reviewed.and_then(|reviewed| reviewed.fix.as_ref()).filter(|fix| fix.companions.is_none())
    {
        let all = replacements(&fix.change.edits, text, lines, Lines::byte_region).into_iter();
        let suggestion =
            |Replacement { region, text }: Replacement| json!({"range": range(region), "text": text});
        diagnostic["suggestions"] = all.map(suggestion).collect();
    }
    diagnostic
}

fn range(region: Region) -> Value {
    json!({
        "start": {"line": region.line, "column": region.column},
        "end": {"line": region.end_line, "column": region.end_column},
    })
}
