//! Patch application: the RFC's own examples, an oracle, and patches made to hurt.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::testing::{Inputs, property};
use engine::inverse::inverse;
use engine::verify::apply;
use serde_json::{Value, json};

use super::dice::{Dice, made};
use super::oracle;

/// RFC 6902, appendix A: document, patch, result (`null`: the patch must fail).
#[test]
fn the_examples_of_the_rfc_hold() {
    let examples = [
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#"{"baz":"qux","foo":"bar"}"#),
        (
            r#"{"foo":["bar","baz"]}"#,
            r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
            r#"{"foo":["bar","qux","baz"]}"#,
        ),
        (r#"{"baz":"qux","foo":"bar"}"#, r#"[{"op":"remove","path":"/baz"}]"#, r#"{"foo":"bar"}"#),
        (
            r#"{"foo":["bar","qux","baz"]}"#,
            r#"[{"op":"remove","path":"/foo/1"}]"#,
            r#"{"foo":["bar","baz"]}"#,
        ),
        (
            r#"{"baz":"qux","foo":"bar"}"#,
            r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
            r#"{"baz":"boo","foo":"bar"}"#,
        ),
        (
            r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
            r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#,
        ),
        (
            r#"{"foo":["all","grass","cows","eat"]}"#,
            r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
            r#"{"foo":["all","cows","eat","grass"]}"#,
        ),
        (
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
            r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
        ),
        (r#"{"baz":"qux"}"#, r#"[{"op":"test","path":"/baz","value":"bar"}]"#, "null"),
        (
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
            r#"{"child":{"grandchild":{}},"foo":"bar"}"#,
        ),
        (
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
            r#"{"baz":"qux","foo":"bar"}"#,
        ),
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz/bat","value":"qux"}]"#, "null"),
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux","op":"remove"}]"#, "null"),
        (r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#"{"/":9,"~1":10}"#),
        (r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":"10"}]"#, "null"),
        (
            r#"{"foo":["bar"]}"#,
            r#"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
            r#"{"foo":["bar",["abc","def"]]}"#,
        ),
        // Section 4.6: numbers are compared by value.
        (r#"{"a":[{"b":1}]}"#, r#"[{"op":"test","path":"/a","value":[{"b":1.0}]}]"#, r#"{"a":[{"b":1}]}"#),
    ];
    for (document, patch, expected) in examples {
        let document: Value = serde_json::from_str(document).unwrap();
        let expected =
            Some(serde_json::from_str::<Value>(expected).unwrap()).filter(|value| !value.is_null());
        let parsed = Patch::from_json(patch).ok();
        let by = |apply: &dyn Fn(&Patch) -> Option<Value>| parsed.as_ref().and_then(apply);
        assert_eq!(by(&|patch| oracle::apply(&document, patch)), expected, "the oracle: {patch}");
        assert_eq!(by(&|patch| apply(&document, patch).ok()), expected, "{patch}");
    }
}

#[test]
fn patches_do_what_the_rfc_says() {
    let inputs = (domain::testing::json(), made(120, patch));
    property("patch-oracle", Inputs { usual: 1500, share: 14 }, &inputs, |(document, patch)| {
        agrees(&document, &patch);
    });
}

#[test]
fn patches_made_to_hurt_are_bounded() {
    let document = json!({"a": {"a": ["0123456789"], "b": 1}, "l": [0, [1], {"a": []}], "-": {"0": {}}});
    property("patch-evil", Inputs { usual: 300, share: 6 }, &made(400, evil), |patch| {
        agrees(&document, &patch);
    });
}

/// Nodes and bytes that an applied patch may leave at most, in a document that was small.
const MOST: usize = 9 << 20;

#[test]
fn a_patch_and_its_inverse_leave_the_document_as_it_was() {
    let inputs = (domain::testing::json(), made(120, patch));
    property("patch-inverse", Inputs { usual: 1500, share: 8 }, &inputs, |(document, patch)| {
        is_undone(&document, &patch);
    });
    let document = json!({"a": {"a": ["0123456789"], "b": 1}, "l": [0, [1], {"a": []}], "-": {"0": {}}});
    property("patch-inverse-evil", Inputs { usual: 300, share: 4 }, &made(400, evil), |patch| {
        is_undone(&document, &patch);
    });
}

fn is_undone(document: &Value, patch: &Patch) {
    let Ok(patched) = apply(document, patch) else {
        assert!(inverse(document, patch).is_err(), "{}", patch.to_json());
        return;
    };
    match inverse(document, patch) {
        Ok(back) => {
            assert_eq!(apply(&patched, &back).as_ref(), Ok(document), "{}", patch.to_json());
            assert_eq!(oracle::apply(&patched, &back).as_ref(), Some(document), "{}", patch.to_json());
        }
        Err(error) => assert!(error.reason.starts_with("the document would become"), "{error}"),
    }
}

fn agrees(document: &Value, patch: &Patch) {
    let original = document.clone();
    let applied = apply(document, patch);
    assert_eq!(*document, original, "the original is left alone");
    match applied {
        Ok(patched) => {
            assert!(weight(&patched) < MOST);
            assert_eq!(Some(patched), oracle::apply(document, patch), "{}", patch.to_json());
        }
        Err(error) if error.reason.starts_with("the document would become") => {}
        Err(error) => {
            assert!(error.index < patch.len());
            assert_eq!(None, oracle::apply(document, patch), "{error}: {}", patch.to_json());
        }
    }
}

fn weight(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::Array(entries) => entries.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        _ => 0,
    }
}

/// A few operations whose paths are likely to hit something.
fn patch(dice: &mut Dice) -> Patch {
    let length = 1 + dice.below(5);
    Patch((0..length).map(|_| op(dice, short)).collect())
}

/// Deep paths, huge indices, moves into oneself, and the whole document copied into itself again and again.
fn evil(dice: &mut Dice) -> Patch {
    let mut ops: Vec<Op> = (0..=dice.below(12)).map(|_| op(dice, any_path)).collect();
    if dice.one_in(4) {
        let times = dice.below(40);
        let again: Vec<Op> = ops.iter().cycle().take(times * ops.len()).cloned().collect();
        ops.extend(again);
    }
    Patch(ops)
}

/// What a model might propose for a manifest.
pub(crate) fn of_a_stranger(dice: &mut Dice) -> Patch {
    let length = dice.below(5);
    Patch((0..length).map(|_| op(dice, in_a_manifest)).collect())
}

fn op(dice: &mut Dice, path: fn(&mut Dice) -> Pointer) -> Op {
    let at = path(dice);
    match dice.below(6) {
        0 => Op::Add { path: at, value: dice.odd() },
        1 => Op::Remove { path: at },
        2 => Op::Replace { path: at, value: dice.odd() },
        3 => Op::Move { from: path(dice), path: at },
        4 => Op::Copy { from: path(dice), path: at },
        _ => Op::Test { path: at, value: dice.odd() },
    }
}

fn short(dice: &mut Dice) -> Pointer {
    let keys = ["0", "a", "1", "-", "", "b", "2", "~", "/", "a/", "01", "e"];
    (0..dice.below(4)).fold(Pointer::ROOT, |at, _| at.child(dice.pick::<&str>(&keys)))
}

fn any_path(dice: &mut Dice) -> Pointer {
    let keys = [
        "a",
        "l",
        "-",
        "0",
        "1",
        "2",
        "b",
        "+1",
        "-1",
        "00",
        "18446744073709551615",
        "18446744073709551616",
        "4294967296",
        "1e3",
        "",
        " 1",
        "\u{0}",
        "٣",
    ];
    let most = if dice.one_in(12) { 300 } else { 5 };
    (0..dice.below(most)).fold(Pointer::ROOT, |at, _| at.child(dice.pick::<&str>(&keys)))
}

fn in_a_manifest(dice: &mut Dice) -> Pointer {
    let places = [
        "",
        "/kind",
        "/apiVersion",
        "/metadata",
        "/metadata/name",
        "/spec",
        "/spec/template",
        "/spec/template/spec",
        "/spec/template/spec/containers",
        "/spec/template/spec/containers/0",
        "/spec/template/spec/containers/-",
        "/spec/template/spec/containers/0/securityContext",
        "/spec/template/spec/containers/0/image",
        "/spec/containers/0",
        "/spec/containers/0/securityContext/privileged",
        "/spec/containers/1/ports/0",
        "/spec/selector",
        "/spec/ports/0/targetPort",
        "/spec/template/spec/volumes/0",
        "/items/0",
    ];
    Pointer::parse(*dice.pick(&places)).unwrap()
}
