//! The resolved settings for people and for programs.

use serde_json::{Map, Value, json};

use super::origin::Origin;
use super::resolve::{Resolved, for_each_leaf};
use crate::output::{self, Align, Format, Table};

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
