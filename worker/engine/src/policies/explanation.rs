//! What each policy says of itself, for people: the head of its source file, from a page that a test keeps equal to it.

use domain::policy::PolicyId;

const PAGE: &str = include_str!("../../explanations.md");

/// What the policy checks, why, how it is repaired, and an example, as Markdown.
pub fn explanation(id: PolicyId) -> &'static str {
    let heading = format!("\n## {id}\n\n");
    let text = PAGE.split_once(&heading).map_or("", |(_, rest)| rest);
    text.split_once("\n## ").map_or(text, |(text, _)| text).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_explained_apart() {
        for id in PolicyId::ALL {
            let text = explanation(*id);
            for part in ["### What it checks", "### Why", "### Repair", "### Example"] {
                assert_eq!(text.matches(part).count(), 1, "{id}: {part}");
            }
        }
    }
}
