//! Whether documents hold what counts as a secret.

use domain::config::Limits;
use engine::document::Document;
use sensitive::{Masks, mask_text};

/// Whether a document holds a value that rows and prompts would mask. Of a text that cannot be parsed, what looks like one
/// counts.
pub fn holds_secrets(text: &str, limits: &Limits) -> bool {
    match Document::parse(text, limits) {
        Ok(document) => !Masks::of(&document.value, usize::MAX).0.is_empty(),
        Err(_) => mask_text(text) != text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_under_telling_names_are_secrets() {
        let holds = |text: &str| holds_secrets(text, &Limits::default());
        let pod = |value: &str| {
            format!(
                "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - name: DB_PASSWORD\n      value: {value}\n"
            )
        };
        assert!(holds(&pod("hunter2-s3cret")));
        assert!(!holds("kind: Pod\nspec:\n  containers:\n  - name: a\n    image: nginx:1.27\n"));
        assert!(holds("kind: [\npassword: hunter2-s3cret\n"), "also where the text cannot be parsed");
    }
}
