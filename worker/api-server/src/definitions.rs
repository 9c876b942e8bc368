//! The custom resource definitions of a corpus: what a control plane is prepared with.

use std::collections::HashSet;

use domain::ids::DocumentHash;

use crate::fixtures::may_define;

/// Most texts.
const MOST: usize = 1_000;
/// Most bytes of all texts.
const MOST_BYTES: usize = 64 << 20;

/// More texts than a control plane is prepared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST} documents, or {MOST_BYTES} bytes of them, define custom resources")]
pub struct TooMany;

/// Texts that may hold definitions, each once, in the order in which they came: of two definitions with one name the last
/// counts.
#[derive(Debug, Default)]
pub struct Definitions {
    texts: Vec<String>,
    known: HashSet<DocumentHash>,
    bytes: usize,
}

impl Definitions {
    /// Keeps `text` if it may hold definitions.
    ///
    /// # Errors
    /// There are too many.
    pub fn take(&mut self, text: &str) -> Result<(), TooMany> {
        if !may_define(text) || !self.known.insert(DocumentHash::of(text.as_bytes())) {
            return Ok(());
        }
        self.bytes += text.len();
        if self.texts.len() >= MOST || self.bytes > MOST_BYTES {
            return Err(TooMany);
        }
        self.texts.push(text.to_owned());
        Ok(())
    }

    /// The texts.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once_and_so_many_of_them() {
        let mut definitions = Definitions::default();
        let definition = |number: usize| format!("kind: CustomResourceDefinition # {number}");
        for text in [definition(1), definition(0), "kind: Pod".to_owned(), definition(1)] {
            assert_eq!(definitions.take(&text), Ok(()));
        }
        assert_eq!(definitions.texts(), [definition(1), definition(0)]);
        (2..MOST).for_each(|number| assert_eq!(definitions.take(&definition(number)), Ok(())));
        assert_eq!(definitions.take(&definition(0)), Ok(()), "it is known");
        assert_eq!(definitions.take(&definition(MOST)), Err(TooMany));
        let large = format!("{}{}", definition(0), "#".repeat(MOST_BYTES));
        assert_eq!(Definitions::default().take(&large), Err(TooMany));
    }
}
