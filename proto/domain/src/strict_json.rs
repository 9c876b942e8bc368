//! Reads JSON in which every name of an object is unique, at any depth.
//!
//! RFC 8259 §4 leaves open which of two members with the same name counts, and parsers differ: a text that one reader takes
//! for one patch is another patch to the next. Here such a text is refused.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Reads one whole JSON value. Fails where `serde_json` does, and on a repeated member name.
pub fn from_str(text: &str) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads the JSON value at the beginning of `text`, and gives it with the number of bytes that it takes.
pub fn first_of(text: &str) -> Result<(Value, usize), serde_json::Error> {
    /// A value as the items of a stream of values.
    #[derive(Deserialize)]
    struct Item(#[serde(deserialize_with = "deserialize")] Value);
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Item>();
    match values.next() {
        Some(value) => Ok((value?.0, values.byte_offset())),
        None => Err(serde_json::Error::custom("no JSON value")),
    }
}

/// The same for a field of a larger shape (`#[serde(deserialize_with = "…")]`).
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Strict.deserialize(deserializer)
}

/// The error of an object that has a member twice.
pub(crate) fn twice<E: Error>(name: &str) -> E {
    let shown: String = name.chars().take(80).collect();
    E::custom(format_args!("the name {shown:?} occurs twice in one object"))
}

/// A value whose objects have unique names.
pub(crate) struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match map.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(members.next_value_seed(Strict)?);
                }
                Entry::Occupied(known) => return Err(twice(known.key())),
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_name_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[[{"b":{"a":1,"c":2,"a":null}}]]"#, r#"{"a":1,"\u0061":2}"#] {
            let error = from_str(text).unwrap_err().to_string();
            assert!(error.contains("occurs twice"), "{error}");
        }
    }

    #[test]
    fn all_else_is_read_as_by_serde_json() {
        for text in [
            r#"{"z":[1,-2,3.5,1e300,"\ud83d\ude00",null,true],"a":{"a":{"a":{}}}}"#,
            "18446744073709551615",
            " [] ",
        ] {
            assert_eq!(from_str(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for text in ["", "NaN", "[1,]", "[1] 2", "1e999", "{\"a\":Infinity}", &"[".repeat(200)] {
            assert!(from_str(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_value_ends_where_it_ends() {
        assert_eq!(first_of("[1] and more").unwrap(), (serde_json::json!([1]), 3));
        assert!(first_of("[1, and more").is_err());
        assert!(first_of("").is_err());
    }
}
