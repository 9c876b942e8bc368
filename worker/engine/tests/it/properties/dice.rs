//! Choices read from a string of bytes: what proptest shrinks is the bytes, what it shows is what was made of them.

use std::fmt::Debug;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Choices, one after another. When the bytes end, every choice is the first, the plainest.
pub(crate) struct Dice {
    bytes: std::vec::IntoIter<u8>,
}

/// Makes one part of a document.
pub(crate) type Make = fn(&mut Dice) -> Value;

/// What `make` makes of up to `most` bytes.
pub(crate) fn made<T: Debug>(most: usize, make: impl Fn(&mut Dice) -> T) -> impl Strategy<Value = T> {
    prop::collection::vec(any::<u8>(), 0..most)
        .prop_map(move |bytes| make(&mut Dice { bytes: bytes.into_iter() }))
}

impl Dice {
    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or_default()
    }

    /// A number below `n`, which is at least 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let low = usize::from(self.byte());
        if n <= 256 { low % n } else { (low + 256 * usize::from(self.byte())) % n }
    }

    /// True once in `n`, never when the bytes have ended.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// One of `texts`, as a value.
    pub(crate) fn text(&mut self, texts: &[&str]) -> Value {
        Value::from(*self.pick(texts))
    }

    /// Up to `most` values.
    pub(crate) fn list(&mut self, most: usize, make: Make) -> Value {
        let length = self.below(most + 1);
        (0..length).map(|_| self.slip(make)).collect()
    }

    /// A map: most of the `usual` fields and some of the `rare` ones, each now and then of a wrong type.
    pub(crate) fn map(&mut self, usual: &[(&str, Make)], rare: &[(&str, Make)]) -> Value {
        let mut map = Map::new();
        for (key, make) in usual {
            if !self.one_in(24) {
                map.insert((*key).to_owned(), self.slip(*make));
            }
        }
        for (key, make) in rare {
            if self.one_in(3) {
                map.insert((*key).to_owned(), self.slip(*make));
            }
        }
        Value::Object(map)
    }

    /// What `make` makes, or now and then something that has no business there.
    fn slip(&mut self, make: Make) -> Value {
        if self.one_in(60) { self.odd() } else { make(self) }
    }

    /// A value that is rarely expected.
    pub(crate) fn odd(&mut self) -> Value {
        match self.below(34) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(false),
            3 => json!(0),
            4 => json!(-1),
            5 => json!(i64::MIN),
            6 => json!(u64::MAX),
            7 => json!(1e308),
            8 => json!(-0.5),
            9 => json!(65_536),
            10 => json!(""),
            11 => json!(" "),
            12 => json!("null"),
            13 => json!("a\u{0}b"),
            14 => json!("${X}"),
            15 => json!("~/~0~1"),
            16 => json!("é😀\u{2028}"),
            17 => json!("x".repeat(300)),
            18 => json!("0x7fffffff"),
            19 => json!("-1"),
            20 => json!("99999999999999999999"),
            21 => json!("a:b:c@d/e/:latest@sha256:"),
            22 => json!([]),
            23 => json!({}),
            24 => json!([null]),
            25 => json!([[]]),
            26 => json!([{}]),
            27 => json!({"": null}),
            28 => json!({"~/": [1]}),
            29 => json!([{"name": "a"}, {"name": "a"}]),
            30 => json!({"name": "a", "value": {"a": 1}}),
            31 => json!(["ALL", 5, null, "all"]),
            32 => json!({"<<": {"a": 1}}),
            _ => json!({"a": {"a": {"a": {"a": {}}}}}),
        }
    }
}
