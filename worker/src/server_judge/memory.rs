//! The verdicts that a worker was given last, so that a document of many records is asked about once.

use std::collections::{HashMap, VecDeque};

use domain::api_server::ServerVerdict;
use domain::ids::DocumentHash;

/// Most verdicts, some kB each at worst.
const MOST: usize = 4_096;

/// Verdicts by the hash of the text that was asked about; the oldest is forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    verdicts: HashMap<DocumentHash, ServerVerdict>,
    order: VecDeque<DocumentHash>,
}

impl Memory {
    pub(crate) fn get(&self, text: &DocumentHash) -> Option<&ServerVerdict> {
        self.verdicts.get(text)
    }

    pub(crate) fn put(&mut self, text: DocumentHash, verdict: ServerVerdict) {
        if self.verdicts.insert(text, verdict).is_some() {
            return;
        }
        self.order.push_back(text);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.verdicts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::api_server::ServerClass;

    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut memory = Memory::default();
        let verdict = ServerVerdict {
            class: ServerClass::Accepted,
            code: 201,
            causes: Vec::new(),
            message: None,
            warnings: Vec::new(),
        };
        let text = |number: usize| DocumentHash::of(&number.to_le_bytes());
        for number in 0..MOST + 10 {
            memory.put(text(number), verdict.clone());
            memory.put(text(number), verdict.clone());
        }
        assert_eq!((memory.verdicts.len(), memory.order.len()), (MOST, MOST));
        assert!(memory.get(&text(9)).is_none() && memory.get(&text(10)).is_some());
    }
}
