//! Findings in the forms of CI services: annotations of GitHub Actions, code quality reports of GitLab.

use cli_support::escape::visible;
use serde_json::{Value, json};

use super::unread::{CHECK, Unread};
use super::{Located, Region, check_name, object_name};

/// A workflow command that annotates the finding's place (GitHub documentation, *Workflow commands for GitHub Actions*).
pub(crate) fn github(found: &Located) -> String {
    let Located { path, region, severity, message, .. } = found;
    let text = format!("{message}{} ({})", found.rendering(), object_name(found));
    let place = region.map(|Region { line, column, end_line, end_column }| {
        format!(",line={line},endLine={end_line},col={column},endColumn={end_column}")
    });
    format!(
        "::{severity} file={}{},title={}::{}\n",
        property(path),
        place.unwrap_or_default(),
        property(&check_name(found)),
        data(&text)
    )
}

/// A workflow command that annotates a document that cannot be read.
pub(crate) fn github_unread(unread: &Unread) -> String {
    let line = unread.line.map(|line| format!(",line={line}")).unwrap_or_default();
    let (path, level) = (property(&unread.path), unread.level());
    format!("::{level} file={path}{line},title={CHECK}::{}\n", data(&unread.text()))
}

/// An entry of a code quality report (GitLab documentation, *Code Quality report format*).
pub(crate) fn gitlab(found: &Located, fingerprint: &str) -> Value {
    let severity = if found.severity == "error" { "major" } else { "minor" };
    // GitLab needs a line.
    let (begin, end) = found.region.map_or((1, 1), |region| (region.line, region.end_line));
    json!({
        "description": visible(&format!("{}{} ({})", found.message, found.rendering(), object_name(found))),
        "check_name": check_name(found),
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {
            "path": found.path.strip_prefix("./").unwrap_or(&found.path),
            "lines": {"begin": begin, "end": end},
        },
    })
}

/// Text behind `::` of a workflow command.
fn data(text: &str) -> String {
    let escaped = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    visible(&escaped).into_owned()
}

/// Value of a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_command_is_one_line_whatever_the_finding_holds() {
        let mut found = crate::findings::testing::found("a,b:c.yaml", "100 %\n::error::x\u{1b}");
        found.name = "web".to_owned();
        let line = github(&found);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.starts_with("::error file=a%2Cb%3Ac.yaml,line=3,"), "{line}");
        assert!(line.ends_with("::100 %25%0A::error::x\\u{1b} (Pod web)\n"), "{line}");
    }

    #[test]
    fn a_report_has_the_fields_that_gitlab_needs() {
        let entry = gitlab(&crate::findings::testing::found("./a.yaml", "m"), "f:1");
        assert_eq!(entry["location"]["path"], "a.yaml");
        assert_eq!((&entry["severity"], &entry["fingerprint"]), (&json!("major"), &json!("f:1")));
        assert!(entry["location"]["lines"]["begin"].as_u64().unwrap() > 0);
    }
}
