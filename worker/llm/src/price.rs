//! The list of prices: what models cost, with the day and the page where each was read.

use domain::budget::Price;
use serde::Deserialize;
use serde_json::Value;

/// The list that is shipped; no price is written in code.
const SHIPPED: &str = include_str!("../../../configs/prices.yaml");

/// A list of prices that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configs/prices.yaml: {0}")]
pub struct BadList(String);

/// What a model costs, and where that was read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Name of the model.
    pub model: String,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
    long_from_tokens: Option<u64>,
    long_factor: Option<f64>,
    /// The day, `YYYY-MM-DD`.
    pub read: String,
    /// The page of the provider.
    pub page: String,
}

impl Listed {
    /// What it costs.
    pub const fn price(&self) -> Price {
        Price {
            input: Some(self.input),
            cached_input: self.cached_input,
            output: Some(self.output),
            long_from_tokens: self.long_from_tokens,
            long_factor: self.long_factor,
        }
    }
}

/// A price that settings take from the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Key of the price, such as `grok.price`.
    pub key: String,
    /// The price, as a mapping.
    pub price: Value,
    /// Where it was read, for the origin of the values.
    pub source: String,
}

/// The shipped list.
///
/// # Errors
/// It is not a list of prices.
pub fn list() -> Result<Vec<Listed>, BadList> {
    serde_saphyr::from_str(SHIPPED).map_err(|error| BadList(error.to_string()))
}

/// The price of the list for the model that a tree of settings asks, where it has none of its own. A model that is not asked
/// takes none: a run of the rules stays the same run when the list changes.
///
/// # Errors
/// The list is broken.
pub fn taken(tree: &Value) -> Result<Option<Taken>, BadList> {
    let list = list()?;
    let find = || {
        let section = tree.pointer("/proposer/mode")?.as_str()?;
        let asked = tree.get(section)?;
        let own = asked.get("price")?.as_object()?;
        let model = asked.get("model")?.as_str()?;
        if own.values().any(|value| !value.is_null()) {
            return None;
        }
        let listed = list.iter().find(|listed| listed.model == model)?;
        let source = format!("configs/prices.yaml ({}, {})", listed.read, listed.page);
        let price = serde_json::to_value(listed.price()).ok()?;
        Some(Taken { key: format!("{section}.price"), price, source })
    };
    Ok(find())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_price_of_the_list_can_be_paid_and_says_where_it_was_read() {
        let list = list().unwrap();
        let models: BTreeSet<&str> = list.iter().map(|listed| listed.model.as_str()).collect();
        assert_eq!(models.len(), list.len(), "a model is listed once");
        for listed in &list {
            assert_eq!(listed.price().fault(), None, "{listed:?}");
            assert!(listed.price().is_known() && listed.output >= listed.input, "{listed:?}");
            let day: Vec<u32> = listed.read.split('-').map(|part| part.parse().unwrap()).collect();
            let [year, month, day] = day[..] else { panic!("{listed:?}") };
            assert!((2025..2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day));
            let page = reqwest::Url::parse(&listed.page).unwrap();
            assert!(page.scheme() == "https" && page.host_str().is_some(), "{listed:?}");
        }
    }

    /// The defaults with another proposer.
    fn asking(mode: &str) -> Value {
        let mut tree = crate::settings::defaults().unwrap();
        tree["proposer"]["mode"] = json!(mode);
        tree
    }

    #[test]
    fn the_default_model_of_a_paid_provider_is_listed() {
        // A vendor's model has to be named, and a server of one's own sends no bill.
        for (mode, listed) in
            [("rules", false), ("grok", true), ("vendor", false), ("vllm", false), ("no", false)]
        {
            assert_eq!(taken(&asking(mode)).unwrap().is_some(), listed, "{mode}");
        }
    }

    #[test]
    fn a_price_that_is_set_or_a_model_that_is_not_listed_takes_none() {
        let mut tree = asking("grok");
        let price = |tree: &Value| taken(tree).unwrap();
        let found = price(&tree).unwrap();
        assert!(found.source.contains("configs/prices.yaml (20") && found.source.contains("https://"));
        assert_eq!((found.key.as_str(), &found.price["input"]), ("grok.price", &json!(1.25)));
        assert_eq!(found.price["cached_input"], Value::Null);
        tree["grok"]["price"]["output"] = json!(0);
        assert_eq!(price(&tree), None);
        tree["grok"]["price"]["output"] = Value::Null;
        for unlisted in ["grok-4-fast-reasoning", "gpt-4o-mini", "GROK-4.3", ""] {
            tree["grok"]["model"] = json!(unlisted);
            assert_eq!(price(&tree), None, "{unlisted}");
        }
        let mut vendor = asking("vendor");
        vendor["vendor"]["model"] = json!("grok-4.5");
        assert_eq!(price(&vendor).unwrap().key, "vendor.price");
    }
}
