//! Which entries of two lists are the same thing.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

/// The fields that are there.
pub(crate) fn fields(map: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.as_str(), value))
}

pub(crate) fn field<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// Fields that tell entries of a list apart, the most telling first: the keys by which a server-side apply merges lists
/// (Kubernetes documentation, *Server-Side Apply*, *Merge strategy*).
const KEYS: [&str; 6] = ["mountPath", "containerPort", "port", "name", "key", "topologyKey"];

/// Entries of two lists with their partners in the other.
pub(crate) struct Pairs {
    /// Entries of the first list without a partner.
    pub(crate) gone: Vec<usize>,
    /// Entries of the second list that may differ from their partner, or have none.
    pub(crate) partners: Vec<(usize, Option<usize>)>,
    /// Whether partners stand in another order.
    pub(crate) reordered: bool,
}

impl Pairs {
    pub(crate) fn of(old: &[Value], new: &[Value]) -> Self {
        let pairs = Self::matched(old, new, false);
        // Where entries share a key, one may now be equal to another: in lists of one length each may have stayed where it was.
        if pairs.reordered && old.len() == new.len() {
            return Some(Self::matched(old, new, true)).filter(|pairs| !pairs.reordered).unwrap_or(pairs);
        }
        pairs
    }

    /// `in_place`: entries that are equal at the same place are partners before all others.
    fn matched(old: &[Value], new: &[Value], in_place: bool) -> Self {
        let ahead = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let (old_rest, new_rest) = (old.get(ahead..).unwrap_or(&[]), new.get(ahead..).unwrap_or(&[]));
        let behind =
            old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
        let mut gone: Vec<usize> = (ahead..old.len() - behind).collect();
        let mut open: Vec<usize> = (ahead..new.len() - behind).collect();
        let mut partners: Vec<(usize, Option<usize>)> = Vec::new();
        let mut order: Vec<(usize, usize)> = Vec::new();
        if in_place {
            let stays = |at: &usize| old.get(*at) == new.get(*at);
            order.extend(gone.extract_if(.., |at| stays(at)).map(|at| (at, at)));
            open.retain(|at| !stays(at));
        }
        let mut pair_by = |may_differ: bool, key: &dyn Fn(&Value) -> Option<String>| {
            let found = pair((old, &mut gone), (new, &mut open), key);
            if may_differ {
                partners.extend(found.iter().map(|(old, new)| (*new, Some(*old))));
            }
            order.extend(found);
        };
        // Where an entry of each is left they are not equal, or they would not be.
        if old_rest.len() - behind != 1 || new_rest.len() - behind != 1 {
            pair_by(false, &|entry| Some(entry.to_string()));
        }
        for name in KEYS {
            pair_by(true, &|entry| field(entry.as_object()?, name).map(Value::to_string));
        }
        // What has none of the keys is told apart by its place.
        pair_by(true, &|entry| {
            let map = entry.as_object()?;
            KEYS.iter().all(|key| field(map, key).is_none()).then(String::new)
        });
        // So is an entry that was given a name, or another one, and nothing else (a port without a number).
        let is_renamed = |at: &usize| match (old.get(*at), new.get(*at)) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => differ_in_name_alone(old, new),
            _ => false,
        };
        let renamed: Vec<usize> =
            gone.iter().copied().filter(|at| open.binary_search(at).is_ok() && is_renamed(at)).collect();
        gone.retain(|at| renamed.binary_search(at).is_err());
        open.retain(|at| renamed.binary_search(at).is_err());
        partners.extend(renamed.iter().map(|at| (*at, Some(*at))));
        order.extend(renamed.iter().map(|at| (*at, *at)));
        partners.extend(open.into_iter().map(|new| (new, None)));
        partners.sort_unstable();
        order.sort_unstable();
        let reordered = order.is_sorted_by(|(_, first), (_, second)| first < second);
        Self { gone, partners, reordered: !reordered }
    }
}

/// Whether everything but the name is equal.
fn differ_in_name_alone(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let rest = |map: &Map<String, Value>| fields(map).filter(|(key, _)| *key != "name").count();
    rest(old) == rest(new) && fields(old).all(|(key, value)| key == "name" || field(new, key) == Some(value))
}

/// Pairs entries with equal keys, the first with the first, and takes them out of what is left of both lists.
fn pair(
    (old, gone): (&[Value], &mut Vec<usize>),
    (new, open): (&[Value], &mut Vec<usize>),
    key: impl Fn(&Value) -> Option<String>,
) -> Vec<(usize, usize)> {
    if gone.is_empty() || open.is_empty() {
        return Vec::new();
    }
    let mut waiting: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
    for at in open.iter() {
        if let Some(key) = new.get(*at).and_then(&key) {
            waiting.entry(key).or_default().push_back(*at);
        }
    }
    let mut found = Vec::new();
    gone.retain(|at| {
        let key = old.get(*at).and_then(&key);
        let partner = key.and_then(|key| waiting.get_mut(&key)?.pop_front());
        found.extend(partner.map(|partner| (*at, partner)));
        partner.is_none()
    });
    let mut taken: Vec<usize> = found.iter().map(|(_, new)| *new).collect();
    taken.sort_unstable();
    open.retain(|at| taken.binary_search(at).is_err());
    found
}
