//! The list of prices: what models cost, with the day and the page where each was read.

use domain::budget::Price;
use serde::Deserialize;
use serde_json::Value;

/// The list that is shipped; no price is written in code.
const SHIPPED: &str = include_str!("../../../configs/prices.yaml");

/// Its name.
const SHIPPED_NAME: &str = "configs/prices.yaml";

/// The key of the file that takes its place.
pub const PRICES: &str = "prices";

/// A list of prices that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct BadList {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a model costs, and where that was read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Name of the model.
    pub model: String,
    input: Option<f64>,
    cached_input: Option<f64>,
    output: Option<f64>,
    #[serde(default)]
    long_from_tokens: Option<u64>,
    #[serde(default)]
    long_factor: Option<f64>,
    #[serde(default)]
    batch_factor: Option<f64>,
    #[serde(default)]
    flex_factor: Option<f64>,
    #[serde(default)]
    priority_factor: Option<f64>,
    /// The day after which the provider does not serve it any more, `YYYY-MM-DD`; `None`: none is known.
    #[serde(default)]
    pub shutdown: Option<String>,
    /// The model that answers in its place from then on; `None`: not known, or none does.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// The day on which this was read, `YYYY-MM-DD`.
    pub read: String,
    /// The page of the provider.
    pub page: String,
}

impl Listed {
    /// What it costs.
    pub const fn price(&self) -> Price {
        Price {
            input: self.input,
            cached_input: self.cached_input,
            output: self.output,
            long_from_tokens: self.long_from_tokens,
            long_factor: self.long_factor,
            batch_factor: self.batch_factor,
            flex_factor: self.flex_factor,
            priority_factor: self.priority_factor,
        }
    }

    /// What is wrong with the row.
    fn fault(&self) -> Option<&'static str> {
        let is_day = |day: &str| {
            let numbers: Vec<Option<u32>> = day.split('-').map(|part| part.parse().ok()).collect();
            let [Some(year), Some(month), Some(day)] = numbers[..] else { return false };
            (2000..3000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
        };
        if self.model.trim().is_empty() {
            Some("model must name a model")
        } else if !is_day(&self.read) || !self.shutdown.as_deref().is_none_or(is_day) {
            Some("read and shutdown must be days, YYYY-MM-DD")
        } else {
            self.price().fault()
        }
    }

    /// What the list says of the end of the model.
    pub fn end(&self) -> Option<String> {
        let day = self.shutdown.as_ref()?;
        let after = self.answered_by.as_ref().map_or_else(String::new, |model| {
            format!(", and {model} answers in its place, at its own price")
        });
        Some(format!("{} is not served after {day}{after} (read {} at {})", self.model, self.read, self.page))
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

/// Rows of a list, and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    name: String,
    rows: Vec<Listed>,
}

impl List {
    /// The shipped list.
    ///
    /// # Errors
    /// It is not a list of prices.
    pub fn shipped() -> Result<Self, BadList> {
        Self::read(SHIPPED_NAME, SHIPPED)
    }

    /// The list that a tree of settings names (`prices`); the shipped one where it names none.
    ///
    /// # Errors
    /// The file cannot be read, or is not a list of prices.
    pub fn of(tree: &Value) -> Result<Self, BadList> {
        let file = tree.get(PRICES).and_then(Value::as_str).unwrap_or_default().trim();
        if file.is_empty() {
            return Self::shipped();
        }
        let bad = |reason: String| BadList { file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
        Self::read(file, &text)
    }

    fn read(name: &str, text: &str) -> Result<Self, BadList> {
        let bad = |reason: String| BadList { file: name.to_owned(), reason };
        let rows: Vec<Listed> = serde_saphyr::from_str(text).map_err(|error| bad(error.to_string()))?;
        for (at, row) in rows.iter().enumerate() {
            if let Some(fault) = row.fault() {
                return Err(bad(format!("entry {} ({:?}): {fault}", at + 1, row.model)));
            }
            if rows.iter().take(at).any(|earlier| earlier.model == row.model) {
                return Err(bad(format!("entry {}: {:?} is listed twice", at + 1, row.model)));
            }
        }
        Ok(Self { name: name.to_owned(), rows })
    }

    /// The row of a model.
    pub fn find(&self, model: &str) -> Option<&Listed> {
        self.rows.iter().find(|listed| listed.model == model)
    }

    /// The price of the list for the model that a tree of settings asks, where it has none of its own. A model that is not
    /// asked takes none: a run of the rules stays the same run when the list changes.
    pub fn taken(&self, tree: &Value) -> Option<Taken> {
        let section = tree.pointer("/proposer/mode")?.as_str()?;
        let asked = tree.get(section)?;
        let own = asked.get("price")?.as_object()?;
        let model = asked.get("model")?.as_str()?;
        if own.values().any(|value| !value.is_null()) {
            return None;
        }
        let listed = self.find(model)?;
        let source = format!("{} ({}, {})", self.name, listed.read, listed.page);
        let mut price = serde_json::to_value(listed.price()).ok()?;
        for key in Price::LEFT_OUT {
            if let Some(keys) = price.as_object_mut() {
                keys.entry(key).or_insert(Value::Null);
            }
        }
        Some(Taken { key: format!("{section}.price"), price, source })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_row_of_the_shipped_list_says_where_it_was_read() {
        let list = List::shipped().unwrap();
        assert!(list.rows.len() > 3);
        for listed in &list.rows {
            let page = reqwest::Url::parse(&listed.page).unwrap();
            assert!(page.scheme() == "https" && page.host_str().is_some(), "{listed:?}");
            assert!(listed.output >= listed.input, "{listed:?}");
        }
        let retired = list.find("grok-4-fast-reasoning").unwrap();
        let end = retired.end().unwrap();
        for part in ["2026-05-15", "grok-4.3 answers in its place", "https://"] {
            assert!(end.contains(part), "{end}");
        }
        assert!(!retired.price().is_known(), "it has none any more");
        assert_eq!(list.find("grok-4.3").unwrap().end(), None);
    }

    #[test]
    fn a_list_of_a_user_takes_the_place_of_the_shipped_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.yaml");
        let row = |model: &str, more: &str| {
            format!(
                "- {{model: {model}, input: 1, cached_input: null, output: 2, read: 2026-11-30, page: 'https://p'{more}}}\n"
            )
        };
        std::fs::write(&path, row("m", ", batch_factor: 0.5")).unwrap();
        let mut tree = asking("grok");
        tree["prices"] = json!(path.to_str().unwrap());
        tree["grok"]["model"] = json!("m");
        let taken = List::of(&tree).unwrap().taken(&tree).unwrap();
        assert_eq!((&taken.price["batch_factor"], &taken.price["flex_factor"]), (&json!(0.5), &Value::Null));
        assert!(taken.source.contains("mine.yaml (2026-11-30"), "{}", taken.source);
        tree["grok"]["model"] = json!("grok-4.3");
        assert_eq!(List::of(&tree).unwrap().taken(&tree), None, "the shipped list is not looked at");
        for (bad, needed) in [
            (row("m", "").repeat(2), "\"m\" is listed twice"),
            (row("m", ", flex_factor: -1"), "must be numbers from 0"),
            (row("m", ", shutdown: soon"), "must be days"),
            (row("m", ", flexfactor: 1"), "unknown field"),
            ("- {model: m}".to_owned(), "missing field"),
            ("[".to_owned(), ""),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let error = List::of(&tree).unwrap_err().to_string();
            assert!(error.contains("mine.yaml: ") && error.contains(needed), "{error}");
        }
        tree["prices"] = json!("no/such/file.yaml");
        assert!(List::of(&tree).unwrap_err().to_string().starts_with("no/such/file.yaml: cannot be read"));
    }

    /// The defaults with another proposer.
    fn asking(mode: &str) -> Value {
        let mut tree = crate::settings::defaults().unwrap();
        tree["proposer"]["mode"] = json!(mode);
        tree
    }

    fn taken(tree: &Value) -> Option<Taken> {
        List::of(tree).unwrap().taken(tree)
    }

    #[test]
    fn the_default_model_of_a_paid_provider_is_listed() {
        // A vendor's model has to be named, and a server of one's own sends no bill.
        for (mode, listed) in
            [("rules", false), ("grok", true), ("vendor", false), ("vllm", false), ("no", false)]
        {
            assert_eq!(taken(&asking(mode)).is_some(), listed, "{mode}");
        }
    }

    #[test]
    fn a_price_that_is_set_or_a_model_that_is_not_listed_takes_none() {
        let mut tree = asking("grok");
        let found = taken(&tree).unwrap();
        assert!(found.source.contains("configs/prices.yaml (20") && found.source.contains("https://"));
        assert_eq!((found.key.as_str(), &found.price["input"]), ("grok.price", &json!(1.25)));
        assert_eq!(found.price["cached_input"], Value::Null);
        tree["grok"]["price"]["output"] = json!(0);
        assert_eq!(taken(&tree), None);
        tree["grok"]["price"]["output"] = Value::Null;
        for unlisted in ["grok-9", "GROK-4.3", ""] {
            tree["grok"]["model"] = json!(unlisted);
            assert_eq!(taken(&tree), None, "{unlisted}");
        }
        tree["grok"]["model"] = json!("gpt-4o-mini");
        let known = taken(&tree).unwrap();
        assert!(
            known.price.as_object().unwrap().values().all(Value::is_null),
            "listed without a price: {known:?}"
        );
        let mut vendor = asking("vendor");
        vendor["vendor"]["model"] = json!("grok-4.5");
        assert_eq!(taken(&vendor).unwrap().key, "vendor.price");
    }
}
