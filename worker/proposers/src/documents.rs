//! Documents of many records in one text, told apart by what they are.

use std::collections::HashMap;

use domain::config::Limits;
use engine::document::Document;
use engine::yaml;

use crate::message::Question;

/// By what a document is recognised: tools know objects by it. Its `apiVersion` may be another after a repair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    kind: String,
    namespace: String,
    name: String,
}

impl Key {
    /// Of a text; `None`: it is not a document that has a kind.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let identity = Document::parse(text, &Limits::default()).ok()?.identity;
        let namespace = identity.effective_namespace().to_owned();
        (!identity.kind.is_empty()).then_some(Self { kind: identity.kind, namespace, name: identity.name })
    }
}

/// The document of each record in a text that has one for each, in the order of the questions; else what is wrong with it.
pub(crate) fn of_each(text: &str, questions: &[Question]) -> Result<Vec<String>, String> {
    let mut found = HashMap::new();
    for piece in yaml::split(text) {
        let key = Key::of(piece.text).ok_or("holds a document without a kind")?;
        if found.insert(key, piece.text).is_some() {
            return Err("holds two documents of one kind, namespace and name".to_owned());
        }
    }
    let mut take = |question: &Question| {
        let text = Key::of(&question.manifest_yaml).and_then(|key| found.remove(&key));
        text.map(str::to_owned).ok_or("has no document for a record")
    };
    let texts = questions.iter().map(&mut take).collect::<Result<_, _>>()?;
    if found.is_empty() { Ok(texts) } else { Err("holds a document of no record".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, namespace: &str) -> String {
        format!("kind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\n")
    }

    fn question(manifest_yaml: String) -> Question {
        Question {
            id: String::new(),
            attempt: 1,
            policy_id: String::new(),
            violation_text: String::new(),
            manifest_yaml,
            feedback: None,
        }
    }

    #[test]
    fn documents_are_recognised_in_any_order() {
        let questions = [question("kind: Pod\nmetadata: {name: a}\n".to_owned()), question(pod("a", "b"))];
        let text = format!("{}\n---\n\n{}\n---\n", pod("a", "b"), pod("a", "default"));
        let texts = of_each(&text, &questions).unwrap();
        assert_eq!(texts[0].trim(), pod("a", "default").trim());
        assert_eq!(texts[1].trim(), pod("a", "b").trim());
    }

    #[test]
    fn one_too_many_or_too_few_is_refused() {
        let questions = [question(pod("a", "x")), question(pod("b", "x"))];
        let (a, b, c) = (pod("a", "x"), pod("b", "x"), pod("c", "x"));
        for (text, word) in [
            (format!("{a}---\n{b}---\n{c}"), "of no record"),
            (format!("{a}---\n{c}"), "no document for a record"),
            (format!("{a}---\n{b}---\n{b}"), "two documents"),
            (format!("{a}---\n{{}}\n---\n{b}"), "without a kind"),
            (format!("{a}---\n{b}---\n]["), "without a kind"),
            (String::new(), "no document for a record"),
        ] {
            let error = of_each(&text, &questions).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
