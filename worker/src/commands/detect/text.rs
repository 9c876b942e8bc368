//! Findings as text: by file on a terminal, a line for each elsewhere.

use cli_support::escape::one_line;
use cli_support::output::Paint;

use crate::findings::{Located, check_name, object_name};

/// A finding in the format of compiler messages.
pub(in crate::commands) fn line(found: &Located) -> String {
    let Located { severity, message, .. } = found;
    let (place, check, rendering) = (found.place(), check_name(found), found.rendering());
    let text = format!("{place}: {severity}: {message} [{check}] {}{rendering}", object_name(found));
    format!("{}\n", one_line(&text))
}

/// Findings under the paths of their files.
pub(super) struct Grouped {
    paint: Paint,
    /// The file of the last finding.
    path: Option<String>,
}

impl Grouped {
    pub(super) fn new(paint: Paint) -> Self {
        Self { paint, path: None }
    }

    /// A finding, after its file's path where that is another one than before. Nothing is cut or broken.
    pub(super) fn entry(&mut self, found: &Located) -> String {
        let mut text = String::new();
        if self.path.as_ref() != Some(&found.path) {
            let gap = if self.path.is_some() { "\n" } else { "" };
            text = format!("{gap}{}\n", self.paint.strong(&one_line(&found.path)));
            self.path = Some(found.path.clone());
        }
        let place = found.position();
        let severity = format!("{:7}", found.severity);
        let severity =
            if found.severity == "error" { self.paint.bad(&severity) } else { self.paint.notable(&severity) };
        let (check, message) =
            (one_line(&check_name(found)), one_line(&(found.message.clone() + &found.noted())));
        let object = self.paint.faint(&one_line(&object_name(found)));
        text + &format!("  {place:>7}  {severity}  {check}  {message}  {object}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::found;

    #[test]
    fn findings_stand_under_their_files() {
        let mut grouped = Grouped::new(Paint::PLAIN);
        let text: String = [found("a.yaml", "m"), found("a.yaml", "n"), found("b\u{1b}.yaml", "o\np")]
            .iter()
            .map(|found| grouped.entry(found))
            .collect();
        let entry = |message: &str| format!("      3:5  error    privileged-container  {message}  Pod a\n");
        let expected = format!("a.yaml\n{}{}\nb\\u{{1b}}.yaml\n{}", entry("m"), entry("n"), entry("o p"));
        assert_eq!(text, expected);
    }
}
