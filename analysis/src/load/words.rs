//! Interned strings: rows repeat few words many times.

use std::collections::HashSet;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Words(HashSet<Arc<str>>);

impl Words {
    pub(crate) fn of(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return known.clone();
        }
        let kept: Arc<str> = word.into();
        self.0.insert(kept.clone());
        kept
    }
}
