//! The models that a provider lists.

use reqwest::Url;
use serde_json::Value;

use crate::error::{Failure, named};
use crate::mask::KeyMask;

/// Most models of a list that are read.
const MOST: usize = 10_000;

/// A model that a provider lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// Its name.
    pub id: String,
    /// The day after which it is not served, as the provider writes it; `None`: it names none.
    pub shutdown: Option<String>,
}

/// What a list says of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is listed.
    Listed {
        /// The day after which it is not served, where the provider names one.
        shutdown: Option<String>,
    },
    /// It is not.
    Missing {
        /// Names that are like it; the first few.
        like: Vec<String>,
    },
}

impl Presence {
    /// What `models` say of `model`.
    pub fn of(model: &str, models: &[ListedModel]) -> Self {
        if let Some(listed) = models.iter().find(|listed| listed.id == model) {
            return Self::Listed { shutdown: listed.shutdown.clone() };
        }
        let beginning: String = model.chars().take_while(char::is_ascii_alphabetic).collect();
        let is_like = |id: &str| beginning.len() > 2 && id.contains(&beginning);
        let like = models.iter().filter(|listed| is_like(&listed.id)).map(|listed| listed.id.clone());
        Self::Missing { like: like.take(5).collect() }
    }
}

/// Another address of the provider whose chat completions are at `url`.
pub(crate) fn beside(url: &Url, end: &str) -> Url {
    let mut other = url.clone();
    let path = url.path();
    let base = ["/chat/completions", "/responses"].iter().find_map(|end| path.strip_suffix(end));
    other.set_path(&format!("{}/{end}", base.unwrap_or(path).trim_end_matches('/')));
    other
}

/// Reads a list of models.
pub(crate) fn read(body: &[u8], mask: &KeyMask) -> Result<Vec<ListedModel>, Failure> {
    let garbage = |why: &str| Failure::Garbage(why.to_owned());
    let mut value: Value =
        serde_json::from_slice(body).map_err(|_| garbage("the list of models is not valid JSON"))?;
    mask.error(&mut value);
    let list = value.get("data").or_else(|| value.get("models")).unwrap_or(&value);
    let list = list.as_array().ok_or_else(|| garbage("there is no list of models in it"))?;
    let text = |entry: &Value, keys: &[&str]| {
        let found = keys.iter().find_map(|key| match entry.get(*key)? {
            Value::String(text) if !text.trim().is_empty() => Some(named(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        found.filter(|text| !text.is_empty())
    };
    let model = |entry: &Value| {
        Some(ListedModel {
            id: text(entry, &["id", "name", "model"])?,
            shutdown: text(entry, &["shutdown_date", "deprecation_date", "deprecation"]),
        })
    };
    Ok(list.iter().take(MOST).filter_map(model).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_asked_for_a_model() {
        let body =
            br#"{"object":"list","data":[{"id":"grok-4.3"},{"id":"gpt-4o-mini","shutdown_date":"2027-01-14"},
            {"id":"grok-4.5","shutdown_date":null},{"object":"model"},7,
            {"id":"meta-llama/Meta-Llama-3-8B-Instruct"},{"id":"/models/SmolLM2-135M-Instruct.Q4_1.gguf"}]}"#;
        let models = read(body, &KeyMask::default()).unwrap();
        assert_eq!(models.len(), 5);
        let of = |model| Presence::of(model, &models);
        assert_eq!(of("gpt-4o-mini"), Presence::Listed { shutdown: Some("2027-01-14".to_owned()) });
        assert_eq!(of("grok-4.5"), Presence::Listed { shutdown: None });
        for long in ["meta-llama/Meta-Llama-3-8B-Instruct", "/models/SmolLM2-135M-Instruct.Q4_1.gguf"] {
            assert_eq!(of(long), Presence::Listed { shutdown: None }, "a long name is no key");
        }
        let like = vec!["grok-4.3".to_owned(), "grok-4.5".to_owned()];
        assert_eq!(of("grok-4-fast-reasoning"), Presence::Missing { like });
        assert_eq!(of("x"), Presence::Missing { like: Vec::new() });
        for bad in [&b"<html>"[..], b"{}", b"7", br#"{"data": "none"}"#] {
            assert!(read(bad, &KeyMask::default()).is_err());
        }
    }

    #[test]
    fn it_lies_beside_the_address_that_is_called() {
        for (called, models) in [
            ("https://api.x.ai/v1/chat/completions", "https://api.x.ai/v1/models"),
            ("https://h/openai/v1/responses", "https://h/openai/v1/models"),
            ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/models"),
        ] {
            assert_eq!(beside(&Url::parse(called).unwrap(), "models").as_str(), models);
        }
    }
}
