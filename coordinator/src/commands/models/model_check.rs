//! Whether the provider has the model that a configuration names, and until when: for `doctor`, `probe` and `estimate`.

use cli_support::env;
use domain::config::RunConfig;
use llm::client::{Client, Timeouts};
use llm::error::Failure;
use llm::models::Presence;
use llm::price::List;
use llm::settings::Settings;
use serde_json::{Value, json};

use crate::commands::block_on;

/// What is known of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelCheck {
    provider: &'static str,
    model: String,
    presence: Result<Presence, NotKnown>,
    /// What the list of prices says of its end.
    end: Option<String>,
}

/// Why it is not known whether a provider has a model.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NotKnown {
    /// It lists no models at all, which is no fault.
    NotListed(String),
    /// It could not be asked: a run would fail as well.
    NotAsked(String),
}

impl NotKnown {
    fn of(failure: &Failure) -> Self {
        let why = failure.to_string();
        if failure.is_no_such_endpoint() { Self::NotListed(why) } else { Self::NotAsked(why) }
    }

    fn why(&self) -> &str {
        match self {
            Self::NotListed(why) | Self::NotAsked(why) => why,
        }
    }
}

impl ModelCheck {
    /// Asks the provider of a configuration for its models, which costs nothing; `None` where no model proposes.
    pub(crate) fn ask(settings: &Settings, list: &List) -> anyhow::Result<Option<Self>> {
        let config = &settings.run;
        let Some(model) = config.model().map(|model| model.model.clone()) else { return Ok(None) };
        let presence = match client(settings, config) {
            Ok(client) => {
                block_on(async { Ok(client.models().await) })?.map_err(|failure| NotKnown::of(&failure))
            }
            Err(why) => Err(NotKnown::NotAsked(why)),
        };
        Ok(Some(Self {
            provider: config.proposer.mode.as_str(),
            presence: presence.map(|models| Presence::of(&model, &models)),
            end: list.find(&model).and_then(llm::price::Listed::end),
            model,
        }))
    }

    /// Whether the provider says that it does not have the model.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self.presence, Ok(Presence::Missing { .. }))
    }

    /// Whether the provider could not be asked.
    pub(crate) const fn is_not_asked(&self) -> bool {
        matches!(self.presence, Err(NotKnown::NotAsked(_)))
    }

    /// A line for each thing that is known.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self { provider, model, presence, end } = self;
        let listed = match presence {
            Ok(Presence::Listed { shutdown: None }) => format!("{provider} lists {model}"),
            Ok(Presence::Listed { shutdown: Some(day) }) => {
                format!("{provider} lists {model}, and serves it until {day}")
            }
            Ok(Presence::Missing { like }) if like.is_empty() => {
                format!("{provider} does not list {model}: set {provider}.model to one that it has")
            }
            Ok(Presence::Missing { like }) => format!(
                "{provider} does not list {model}: set {provider}.model to one that it has, such as {}",
                like.join(", ")
            ),
            Err(not_known) => format!("whether {provider} has {model} is not known: {}", not_known.why()),
        };
        std::iter::once(listed).chain(end.clone()).collect()
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let (listed, shutdown, error) = match &self.presence {
            Ok(Presence::Listed { shutdown }) => (Some(true), shutdown.clone(), None),
            Ok(Presence::Missing { .. }) => (Some(false), None, None),
            Err(not_known) => (None, None, Some(not_known.why())),
        };
        json!({
            "provider": self.provider, "model": self.model, "listed": listed, "shutdown_date": shutdown,
            "not_known_because": error, "price_list": self.end,
        })
    }
}

fn client(settings: &Settings, config: &RunConfig) -> Result<Client, String> {
    let provider = settings.providers.open(config.proposer.mode, env::process);
    let provider = provider.map_err(|error| error.to_string())?;
    Client::new(provider, Timeouts::from(&config.proposer)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_model_is_said_in_one_line_each() {
        let check = |presence| ModelCheck {
            provider: "grok",
            model: "grok-4-fast-reasoning".to_owned(),
            presence,
            end: List::shipped().unwrap().find("grok-4-fast-reasoning").unwrap().end(),
        };
        let like = vec!["grok-4.3".to_owned()];
        let missing = check(Ok(Presence::Missing { like }));
        let lines = missing.lines();
        assert!(
            missing.is_missing() && lines[0].contains("grok.model") && lines[0].ends_with("grok-4.3"),
            "{lines:?}"
        );
        assert!(lines[1].contains("2026-05-15"), "{lines:?}");
        assert_eq!(
            (&missing.json()["listed"], &missing.json()["not_known_because"]),
            (&json!(false), &Value::Null)
        );
        let until = check(Ok(Presence::Listed { shutdown: Some("2027-01-14".to_owned()) }));
        assert!(!until.is_missing() && until.lines()[0].ends_with("until 2027-01-14"));
        assert_eq!(until.json()["shutdown_date"], "2027-01-14");
        let unknown = check(Err(NotKnown::NotAsked("no key".to_owned())));
        assert!(
            !unknown.is_missing()
                && unknown.is_not_asked()
                && unknown.lines()[0].ends_with("not known: no key")
        );
        assert_eq!(unknown.json()["listed"], Value::Null);
    }
}
