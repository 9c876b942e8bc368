//! The resolved settings for people and for programs.

use serde_json::{Map, Value, json};

use super::origin::Origin;
use super::resolve::{Resolved, for_each_leaf};
use crate::output::{self, Align, Format, Table};

/// Keys that a message names.
const SHOWN: usize = 4;

impl Resolved {
    /// Every key with its value and its origin, in the order of the defaults.
    ///
    /// JSON: `{"key": {"value": …, "origin": "…"}, …}` by dotted key.
    pub fn show(&self, format: Format) -> String {
        let mut table = Table::new([("key", Align::Left), ("value", Align::Left), ("from", Align::Left)]);
        let mut object = Map::new();
        for_each_leaf(&self.value, String::new(), &mut |key, value| {
            let origin = self.origin(&key).to_string();
            if format == Format::Json {
                object.insert(key, json!({"value": value, "origin": origin}));
            } else {
                table.push([key, value.to_string(), origin]);
            }
        });
        match format {
            Format::Text => table.text(output::stdout_width()),
            Format::Csv => table.csv(),
            Format::Json => output::json(&Value::Object(object)),
        }
    }

    /// The keys that the user set and that `is_meant`, for a message: the first few, and how many there are besides.
    /// `None`: there are none.
    pub fn set_keys(&self, is_meant: impl Fn(&str) -> bool) -> Option<String> {
        let set = self.origins.iter().filter(|(key, origin)| origin.is_set() && is_meant(key));
        let keys: Vec<&str> = set.map(|(key, _)| key.as_str()).collect();
        let (shown, rest) = keys.split_at(keys.len().min(SHOWN));
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
    }

    /// Where the value of a leaf came from; for what lies inside an entry of an open map, where the entry came from.
    fn origin(&self, key: &str) -> &Origin {
        let mut path = key;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return origin;
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None => return &Origin::Default,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::output::Format;
    use crate::settings::resolve;

    #[test]
    fn the_keys_that_were_set_are_named_and_many_are_counted() {
        let defaults = serde_json::json!({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1});
        let named = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|key| format!("{key}=2")).collect();
            resolve(&defaults, &[], None, [], &flags).unwrap().set_keys(|key| key != "a")
        };
        assert_eq!(named(&["a"]), None);
        assert_eq!(named(&["c", "b", "a"]).as_deref(), Some("b, c"));
        assert_eq!(named(&["a", "b", "c", "d", "e", "f"]).as_deref(), Some("b, c, d, e and 1 more"));
    }

    #[test]
    fn every_key_is_shown_with_its_origin() {
        let defaults = serde_json::json!({"seed": 1, "rules": {"tag": "stable", "images": {}}});
        let flags = ["rules.images.a.b/c=d".to_owned()];
        let resolved = resolve(&defaults, &["rules.images"], None, [], &flags).unwrap();
        assert_eq!(
            resolved.show(Format::Csv),
            "key,value,from\nseed,1,default\nrules.tag,\"\"\"stable\"\"\",default\n\
             rules.images.a.b/c,\"\"\"d\"\"\",flag --set rules.images.a.b/c\n"
        );
        let json: serde_json::Value = serde_json::from_str(&resolved.show(Format::Json)).unwrap();
        assert_eq!(json["rules.images.a.b/c"]["value"], "d");
        assert_eq!(json["seed"]["origin"], "default");
        assert!(resolved.show(Format::Text).contains("rules.tag"));
    }
}
