//! Which models were asked and which answered, over the records of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::outcome::ModelUsage;

/// Names that are kept of each kind, the first in their order: a server may name itself anew in each reply.
const NAMES: usize = 32;

/// Records by the model that was asked, by the one that answered, and by the form of their answers.
///
/// *Invariant*: as of the tally. The first names of a union are among the first names of its parts, so what is kept is counted
/// whole, in whatever order parts are added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelTally {
    /// Records by the model that was asked.
    pub requested: BTreeMap<String, u64>,
    /// Answered records by the models that answered, as their provider names them.
    pub served: BTreeMap<String, u64>,
    /// Answered records of which the replies do not disclose the model.
    pub not_disclosed: u64,
    /// Answered records by the form that was asked for.
    pub answer_forms: BTreeMap<String, u64>,
}

impl ModelTally {
    /// Whether no model was asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts the usage of a record.
    pub(super) fn count(&mut self, usage: &ModelUsage) {
        add(&mut self.requested, usage.model_requested.iter().map(|name| (name.as_str(), 1)));
        if usage.model_requested.is_none() || usage.total_tokens.is_none() {
            return;
        }
        match &usage.model_served {
            Some(name) => add(&mut self.served, [(name.as_str(), 1)]),
            None => self.not_disclosed = self.not_disclosed.saturating_add(1),
        }
        add(&mut self.answer_forms, usage.answer_form.iter().map(|form| (form.as_str(), 1)));
    }

    /// Adds the counts of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        for (sums, counts) in [
            (&mut self.requested, &other.requested),
            (&mut self.served, &other.served),
            (&mut self.answer_forms, &other.answer_forms),
        ] {
            add(sums, counts.iter().map(|(name, count)| (name.as_str(), *count)));
        }
        self.not_disclosed = self.not_disclosed.saturating_add(other.not_disclosed);
    }
}

fn add<'n>(sums: &mut BTreeMap<String, u64>, counts: impl IntoIterator<Item = (&'n str, u64)>) {
    for (name, count) in counts {
        let sum = sums.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(count);
        if sums.len() > NAMES {
            sums.pop_last();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(served: Option<&str>, tokens: Option<u64>) -> ModelUsage {
        ModelUsage {
            model_requested: Some("m".to_owned()),
            model_served: served.map(str::to_owned),
            answer_form: tokens.map(|_| "text".to_owned()),
            total_tokens: tokens,
            ..ModelUsage::default()
        }
    }

    #[test]
    fn who_answered_is_counted_by_record() {
        let mut tally = ModelTally::default();
        tally.count(&ModelUsage::default());
        assert!(tally.is_empty());
        for (served, tokens) in [(Some("m-0709"), Some(9)), (None, Some(9)), (None, None)] {
            tally.count(&usage(served, tokens));
        }
        assert_eq!((tally.requested["m"], tally.served["m-0709"], tally.not_disclosed), (3, 1, 1));
        assert_eq!(tally.answer_forms["text"], 2);
    }

    #[test]
    fn a_server_that_names_itself_anew_each_time_stays_bounded_in_any_order() {
        let names: Vec<String> = (0..200).map(|number| format!("m{:03}", number * 37 % 200)).collect();
        let tally = |names: &[String]| {
            let mut tally = ModelTally::default();
            for name in names {
                tally.count(&usage(Some(name), Some(1)));
            }
            tally
        };
        let twice = [&names[..], &names[..]].concat();
        let whole = tally(&twice);
        assert_eq!(whole.served.len(), NAMES);
        assert!(whole.served.values().all(|count| *count == 2), "{:?}", whole.served);
        for cut in [1, 50, 230, 399] {
            let (one, other) = twice.split_at(cut);
            let mut sum = tally(other);
            sum.add(&tally(one));
            assert_eq!(sum, whole, "{cut}");
        }
    }
}
