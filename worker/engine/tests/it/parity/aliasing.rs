//! What the original's library made of operations: it put an operation's own value into the document, so that later
//! operations changed the value of an earlier one. Only to compare operations with recorded ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::Value;

type Shared = Rc<RefCell<Node>>;

enum Node {
    Map(BTreeMap<String, Shared>),
    List(Vec<Shared>),
    Scalar(Value),
}

fn shared(value: &Value) -> Shared {
    let node = match value {
        Value::Object(map) => {
            Node::Map(map.iter().map(|(key, value)| (key.clone(), shared(value))).collect())
        }
        Value::Array(items) => Node::List(items.iter().map(shared).collect()),
        scalar => Node::Scalar(scalar.clone()),
    };
    Rc::new(RefCell::new(node))
}

fn value(node: &Shared) -> Value {
    match &*node.borrow() {
        Node::Map(map) => Value::Object(map.iter().map(|(key, node)| (key.clone(), value(node))).collect()),
        Node::List(items) => items.iter().map(value).collect(),
        Node::Scalar(scalar) => scalar.clone(),
    }
}

fn resolve(document: &Shared, at: &Pointer) -> Option<Shared> {
    let mut node = Rc::clone(document);
    for key in at.keys() {
        let next = match &*node.borrow() {
            Node::Map(map) => map.get(&key).map(Rc::clone),
            Node::List(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)).map(Rc::clone),
            Node::Scalar(_) => None,
        }?;
        node = next;
    }
    Some(node)
}

/// Applies the operations to a copy of the document, sharing their values with it, until one does not apply.
fn apply(document: &Value, ops: &[(&Op, Option<Shared>)]) -> Option<()> {
    let document = shared(document);
    for (op, new) in ops {
        let (parent, key) = op.path().split_last()?;
        let holder = resolve(&document, &parent)?;
        match (&mut *holder.borrow_mut(), op, new) {
            (Node::Map(map), Op::Add { .. } | Op::Replace { .. }, Some(new)) => {
                map.insert(key, Rc::clone(new));
            }
            (Node::List(items), Op::Add { .. }, Some(new)) => {
                let index = if key == "-" { items.len() } else { key.parse().ok()? };
                items.insert(index, Rc::clone(new));
            }
            (Node::List(items), Op::Replace { .. }, Some(new)) => {
                *items.get_mut(key.parse::<usize>().ok()?)? = Rc::clone(new);
            }
            (Node::Map(map), Op::Remove { .. }, _) => {
                map.remove(&key)?;
            }
            (Node::List(items), Op::Remove { .. }, _) => {
                let index: usize = key.parse().ok()?;
                items.get(index)?;
                items.remove(index);
            }
            _ => return None,
        }
    }
    Some(())
}

/// The patch as the original would have recorded it: its first `own` operations applied once, then all of them.
/// (Between the two the guards' operations were applied one guard at a time, which changes nothing more.)
pub(crate) fn recorded(document: &Value, patch: &Patch, own: usize) -> Value {
    let ops: Vec<(&Op, Option<Shared>)> = patch
        .0
        .iter()
        .map(|op| match op {
            Op::Add { value, .. } | Op::Replace { value, .. } => (op, Some(shared(value))),
            op => (op, None),
        })
        .collect();
    apply(document, &ops[..own]);
    apply(document, &ops);
    let record = |(op, new): &(&Op, Option<Shared>)| {
        let mut op = (*op).clone();
        if let (Op::Add { value: slot, .. } | Op::Replace { value: slot, .. }, Some(new)) = (&mut op, new) {
            *slot = value(new);
        }
        serde_json::to_value(op).expect("an operation is JSON")
    };
    ops.iter().map(record).collect()
}
