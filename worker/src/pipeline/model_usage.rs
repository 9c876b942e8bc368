//! What the answers of a record were: tokens, cost, and who gave them.

use domain::answer::{Answer, ServedModel};
use domain::budget::{Cost, Usage, Usd};
use domain::config::{AnswerFormat, ModelConfig};
use domain::outcome::ModelUsage;

/// The answers of one or several conversations.
#[derive(Debug)]
pub(super) struct Asked {
    /// Whether a question was put, answered or not.
    put: bool,
    usage: Usage,
    /// Added up by calls, because each has a price of its own.
    cost: Cost,
    answers: u32,
    /// Whether an answer came from a call and not from the cache.
    paid: bool,
    /// The disclosed names of the models that answered, in the order of their first answers.
    served: Vec<String>,
    /// The form of the last answer.
    form: Option<AnswerFormat>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            put: false,
            usage: Usage::default(),
            cost: Cost::NOTHING,
            answers: 0,
            paid: false,
            served: Vec::new(),
            form: None,
        }
    }
}

impl Asked {
    /// A question is put.
    pub(super) const fn note_question(&mut self) {
        self.put = true;
    }

    /// Adds an answer of `model` in a form; `paid`: it came from a call.
    pub(super) fn add(&mut self, answer: &Answer, model: &ModelConfig, form: AnswerFormat, paid: bool) {
        self.form = Some(form);
        self.usage += answer.usage;
        self.cost = self.cost.plus(model.price.of(&answer.usage, &answer.charge));
        self.answers += 1;
        self.paid |= paid;
        self.note_model(&answer.model, model);
    }

    /// A reply names the model that gave it, also where it is of no use.
    pub(super) fn note_model(&mut self, named: &str, model: &ModelConfig) {
        self.served_by(ServedModel::of(&model.model, named).name());
    }

    /// Adds the answers of another conversation.
    pub(super) fn join(&mut self, other: Self) {
        self.put |= other.put;
        self.form = other.form.or(self.form);
        self.usage += other.usage;
        self.cost = self.cost.plus(other.cost);
        self.answers += other.answers;
        self.paid |= other.paid;
        for name in other.served {
            self.served_by(Some(&name));
        }
    }

    fn served_by(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !self.served.iter().any(|known| known == name)) {
            self.served.push(name.to_owned());
        }
    }

    /// The usage as a row has it. No prompt has 0 tokens: such a count beside a total means that the provider counted the
    /// total alone.
    pub(super) fn usage(self, model: &ModelConfig) -> ModelUsage {
        let model_requested = self.put.then(|| model.model.clone());
        if self.answers == 0 {
            return ModelUsage { model_requested, ..ModelUsage::default() };
        }
        let usage = self.usage;
        let is_split = usage.prompt > 0 || usage.total == 0;
        let told = |count: u64| (is_split || count > 0).then_some(count);
        ModelUsage {
            prompt_tokens: told(usage.prompt),
            completion_tokens: told(usage.completion),
            reasoning_tokens: told(usage.reasoning),
            total_tokens: Some(usage.total),
            estimated_tokens: Some(usage.estimated),
            cost_usd: self.cost.usd().map(Usd::as_f64),
            cost_source: Some(self.cost.source()),
            model_requested,
            model_served: (!self.served.is_empty()).then(|| self.served.join(", ")),
            answer_form: self.form.map(|form| form.as_str().to_owned()),
            cache_hit: Some(!self.paid),
            ..ModelUsage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::answer::Finish;
    use domain::budget::{Charge, CostSource, Price};

    use super::*;

    fn answer(model: &str, billed: Option<u64>) -> Answer {
        Answer {
            content: "{}".to_owned(),
            finish: Finish::Stop,
            usage: Usage { prompt: 100, completion: 20, total: 120, ..Usage::default() },
            charge: Charge { billed: billed.map(Usd::from_ticks), ..Charge::default() },
            model: model.to_owned(),
        }
    }

    #[test]
    fn cost_source_and_served_models_are_those_of_all_answers() {
        let priced = ModelConfig { model: "m".to_owned(), price: Price::flat(1.0, None, 2.0) };
        let unpriced = ModelConfig { price: Price::default(), ..priced.clone() };
        // 10,000 and 20,000 ticks a token.
        let row = |model: &ModelConfig, answers: &[Answer]| {
            let mut asked = Asked::default();
            for answer in answers {
                asked.add(answer, model, AnswerFormat::Text, true);
            }
            let usage = asked.usage(model);
            (usage.cost_usd, usage.cost_source, usage.model_served)
        };
        let named = |name: &str| Some(name.to_owned());
        for (model, answers, expected) in [
            (&priced, vec![answer("m", None)], (Some(0.00014), Some(CostSource::Table), None)),
            (
                &priced,
                vec![answer("m-0709", Some(3))],
                (Some(3e-10), Some(CostSource::Billed), named("m-0709")),
            ),
            (
                &priced,
                vec![answer("", Some(3)), answer("o", None)],
                (Some(0.000_140_000_3), Some(CostSource::Table), named("o")),
            ),
            (
                &unpriced,
                vec![answer("a", Some(3)), answer("b", None), answer("a", None)],
                (None, Some(CostSource::Unknown), named("a, b")),
            ),
            (&unpriced, vec![answer("m", Some(3))], (Some(3e-10), Some(CostSource::Billed), None)),
            (&priced, vec![], (None, None, None)),
        ] {
            assert_eq!(row(model, &answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn two_conversations_are_one() {
        let model = ModelConfig { model: "m".to_owned(), price: Price::flat(1.0, None, 2.0) };
        let mut all = Asked::default();
        for name in ["x", "y"] {
            let mut one = Asked::default();
            one.note_question();
            one.add(&answer(name, None), &model, AnswerFormat::JsonObject, false);
            all.join(one);
        }
        let usage = all.usage(&model);
        assert_eq!(
            (usage.total_tokens, usage.cost_usd, usage.cache_hit),
            (Some(240), Some(0.00028), Some(true))
        );
        let (requested, served) = (usage.model_requested.as_deref(), usage.model_served.as_deref());
        assert_eq!((requested, served), (Some("m"), Some("x, y")));
        assert_eq!(usage.answer_form.as_deref(), Some("json_object"));
        assert_eq!(Asked::default().usage(&model).model_requested, None, "a document too long for a prompt");
    }
}
