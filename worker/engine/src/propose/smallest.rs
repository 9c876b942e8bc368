//! The smallest patch that makes one document of another, for proposers that return whole documents.
//!
//! *Invariant*: after the patch, the document has no [`difference`](crate::difference::difference) from the wanted one. What
//! is only written otherwise (the order of fields, a field that is null) is left as it was.

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::{Map, Value};

use crate::difference::{Pairs, field, fields, same_scalar};
use crate::steps::spend;

/// The operations that lead from `was` to `is`.
pub fn smallest_patch(was: &Value, is: &Value) -> Patch {
    let mut ops = Vec::new();
    nodes(&Pointer::ROOT, was, is, &mut ops);
    Patch(ops)
}

fn nodes(at: &Pointer, was: &Value, is: &Value, ops: &mut Vec<Op>) {
    spend(1);
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => maps(at, was, is, ops),
        (Value::Array(old), Value::Array(new)) => lists(at, (old, new), is, ops),
        _ if same_scalar(was, is) => {}
        _ => ops.push(Op::Replace { path: at.clone(), value: is.clone() }),
    }
}

fn maps(at: &Pointer, was: &Map<String, Value>, is: &Map<String, Value>, ops: &mut Vec<Op>) {
    for (key, _) in fields(was).filter(|(key, _)| field(is, key).is_none()) {
        ops.push(Op::Remove { path: at.child(key) });
    }
    for (key, new) in fields(is) {
        match field(was, key) {
            Some(old) => nodes(&at.child(key), old, new, ops),
            None => ops.push(Op::Add { path: at.child(key), value: new.clone() }),
        }
    }
}

/// What is gone goes first, from the end; then every entry is written where it stands in the new list.
fn lists(at: &Pointer, (old, new): (&[Value], &[Value]), is: &Value, ops: &mut Vec<Op>) {
    if old == new {
        return;
    }
    spend(old.len() + new.len());
    let Pairs { gone, partners, reordered } = Pairs::of(old, new);
    if reordered {
        ops.push(Op::Replace { path: at.clone(), value: is.clone() });
        return;
    }
    let added: Vec<usize> =
        partners.iter().filter(|(_, partner)| partner.is_none()).map(|(index, _)| *index).collect();
    // One for one in its place.
    let in_place = gone == added;
    if !in_place {
        ops.extend(gone.iter().rev().map(|index| Op::Remove { path: at.index(*index) }));
    }
    for index in &added {
        let (path, Some(value)) = (at.index(*index), new.get(*index).cloned()) else { continue };
        ops.push(if in_place { Op::Replace { path, value } } else { Op::Add { path, value } });
    }
    for (index, partner) in partners {
        if let (Some(old), Some(new)) = (partner.and_then(|partner| old.get(partner)), new.get(index)) {
            nodes(&at.index(index), old, new, ops);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::difference::difference;
    use crate::verify::apply;

    fn ops(was: &Value, is: &Value) -> Vec<String> {
        let patch = smallest_patch(was, is);
        assert!(difference(&apply(was, &patch).unwrap(), is).is_empty(), "{patch:?}");
        let word = |op: &Op| serde_json::to_value(op).unwrap()["op"].as_str().unwrap().to_owned();
        patch.0.iter().map(|op| format!("{} {}", word(op), op.path())).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let was = json!({"spec": {"hostPID": true, "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}});
        let is = json!({"spec": {"containers": [
            {"image": "x:1", "name": "a", "securityContext": {"privileged": false}},
            {"name": "b", "image": "y:2"},
        ]}});
        assert_eq!(
            ops(&was, &is),
            [
                "remove /spec/hostPID",
                "add /spec/containers/0/securityContext",
                "replace /spec/containers/1/image"
            ]
        );
        assert!(ops(&was, &was).is_empty());
        assert!(ops(&json!({"a": 1, "b": null}), &json!({"a": 1.0, "c": null})).is_empty());
    }

    #[test]
    fn entries_of_lists_come_and_go() {
        let list = |names: &[&str]| {
            Value::from(names.iter().map(|name| json!({"name": name, "v": 1})).collect::<Vec<_>>())
        };
        assert_eq!(ops(&list(&["a", "b", "c"]), &list(&["b"])), ["remove /2", "remove /0"]);
        assert_eq!(ops(&list(&["b"]), &list(&["a", "b", "c"])), ["add /0", "add /2"]);
        assert_eq!(ops(&json!(["x", "y"]), &json!(["x", "z"])), ["replace /1"]);
        assert_eq!(ops(&json!(["x", "y"]), &json!(["y", "x"])), ["replace "]);
        assert_eq!(ops(&list(&["a", "b"]), &list(&["b", "c"])), ["remove /0", "add /1"]);
        assert_eq!(ops(&json!({"a": ["x"]}), &json!({"a": "x"})), ["replace /a"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_patch_makes_the_other_document(was in domain::testing::json(), is in domain::testing::json()) {
            let (was, is) = (json!({"v": was}), json!({"v": is}));
            let patched = apply(&was, &smallest_patch(&was, &is)).unwrap();
            prop_assert!(difference(&patched, &is).is_empty(), "{} instead of {}", patched, is);
        }
    }
}
