//! Finds the secrets of a document by their place, the names around them, and their texts.

use serde_json::{Map, Value};

use crate::text::{self, Context, Word};
use crate::{names, shape};

/// A secret that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    Text(&'a str),
    /// A member of a Secret, whose name says nothing: a word there may stand elsewhere for another reason.
    Member(&'a str),
    /// A number or a boolean.
    Scalar(&'a Value),
}

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The key of the value; for a pair of a name and a value the name.
    pub(crate) name: &'a str,
    /// Every text below is a secret.
    pub(crate) all: bool,
    /// The program that a list of arguments is for.
    pub(crate) program: Option<&'a str>,
    /// How many texts this value lies in.
    pub(crate) depth: usize,
}

impl Place<'_> {
    pub(crate) const fn root(depth: usize) -> Self {
        Self { name: "", all: false, program: None, depth }
    }
}

/// Texts for people.
const PROSE: [&str; 8] =
    ["description", "summary", "title", "message", "help", "comment", "notes", "displayName"];

/// Annotations that hold the whole object again, by the tools that write them.
const APPLIED: [&str; 8] = [
    "last-applied-configuration",
    "last-applied",
    "kapp.k14s.io/original",
    "kapp.k14s.io/original-diff",
    "objectset.rio.cattle.io/applied",
    "field.cattle.io/applied",
    "helm.sh/release",
    "original-configuration",
];

/// Files that hold nothing but secrets, by the ends of their names.
const SECRET_FILES: [&str; 20] = [
    ".key",
    ".pem",
    ".p12",
    ".pfx",
    ".jks",
    ".keystore",
    ".truststore",
    ".keytab",
    ".kdbx",
    ".htpasswd",
    "htpasswd",
    ".pgpass",
    "pgpass",
    ".netrc",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".dockerconfigjson",
    ".dockercfg",
];

/// Puts what `take` returns in place of every secret. A number or a boolean becomes the text that `take` returns for it.
pub(crate) fn replace(value: &mut Value, place: &Place<'_>, take: &mut dyn FnMut(Found<'_>) -> String) {
    match value {
        Value::String(text) => {
            if let Some(shown) = replaced_text(text, place, take) {
                *text = shown;
            }
        }
        Value::Number(_) | Value::Bool(_) => {
            if (place.all && value.is_number()) || names::is_secret_scalar(place.name, value) {
                *value = Value::String(take(Found::Scalar(value)));
            }
        }
        Value::Array(items) => list(items, place, take),
        Value::Object(entries) => object(entries, place, take),
        Value::Null => {}
    }
}

fn replaced_text(text: &str, place: &Place<'_>, take: &mut dyn FnMut(Found<'_>) -> String) -> Option<String> {
    if text.is_empty() || crate::masks::is_mask(text) {
        return None;
    }
    let named = names::is_secret(place.name, text);
    if place.all {
        let template = text.starts_with("{{") || text.starts_with("${") || text.starts_with("$(");
        let secret = if named { Found::Text(text) } else { Found::Member(text) };
        return (!template || !crate::forms::is_reference(text)).then(|| take(secret));
    }
    if is_whole(place.name, text) || (named && !is_document(text)) {
        return Some(take(Found::Text(text)));
    }
    let context = Context {
        // Nothing shorter is taken for random.
        hashes: text.len() >= shape::SHORTEST_RANDOM
            && (place.name == "key" || names::holds_hashes(place.name)),
        prose: PROSE.contains(&place.name),
        depth: place.depth,
    };
    text::replace(text, context, &mut |secret| take(Found::Text(secret)))
}

/// Whether the whole text is a secret by its key: an applied configuration, a file of keys.
fn is_whole(name: &str, text: &str) -> bool {
    // What every one of these names has.
    if !name.contains(['.', '-', '_']) && !name.ends_with("passwd") && !name.ends_with("pgpass") {
        return false;
    }
    let applied = APPLIED.iter().any(|end| name.ends_with(end));
    let file = SECRET_FILES.iter().any(|end| name.ends_with(end)) && !name.ends_with("pub.key");
    (applied && text.len() > 20)
        || (file && text.len() >= 8 && !crate::forms::is_path(text) && !crate::forms::is_reference(text))
}

/// A configuration file under a name like `credentials.json` or `auth.yaml`: its parts are judged.
fn is_document(text: &str) -> bool {
    let lines = text.trim().lines().count();
    lines > 1
        && (text.contains(": ") || text.contains(" = ") || text.contains('{'))
        && !text.contains("-----BEGIN")
}

fn list(items: &mut [Value], place: &Place<'_>, take: &mut dyn FnMut(Found<'_>) -> String) {
    if !place.all && items.len() > 1 || place.program.is_some() {
        command(items, place, take);
    }
    for item in items {
        replace(item, place, take);
    }
}

/// A list of arguments: what a flag or a program says of the next one.
fn command(items: &mut [Value], place: &Place<'_>, take: &mut dyn FnMut(Found<'_>) -> String) {
    let mut found = Vec::new();
    {
        let words: Vec<Word<'_>> = items
            .iter()
            .map(|item| Word { text: item.as_str().unwrap_or_default(), quoted: false })
            .collect();
        text::in_command(&words, place.program, &mut found);
    }
    found.sort_by_key(|(at, range)| (*at, range.start));
    found.dedup_by_key(|(at, _)| *at);
    for (at, range) in found {
        if let Some(Value::String(text)) = items.get_mut(at) {
            *text = text::put(text, &[range], &mut |secret| take(Found::Text(secret)));
        }
    }
}

fn object(entries: &mut Map<String, Value>, place: &Place<'_>, take: &mut dyn FnMut(Found<'_>) -> String) {
    let about = About::of(entries);
    for (key, entry) in entries.iter_mut() {
        let members = about.secret && matches!(key.as_str(), "data" | "stringData");
        let literals = key == "literals" && place.name == "secretGenerator";
        let named = match &about.name {
            Some(name) if VALUES.contains(&key.as_str()) => name.as_str(),
            // The key of another store's entry.
            _ if about.reference && key == "secretKey" => "",
            _ => key.as_str(),
        };
        let inner = Place {
            name: if entry.is_array() && key == "literals" { place.name } else { named },
            all: place.all || members,
            program: matches!(key.as_str(), "args" | "command" | "entrypoint")
                .then_some(about.program.as_deref())
                .flatten(),
            ..*place
        };
        if literals && let Value::Array(items) = entry {
            literal_pairs(items, take);
        } else if !is_list_of_names(key, entry) {
            replace(entry, &inner, take);
        }
    }
}

/// What the keys of an object say of its values.
#[derive(Default)]
struct About {
    /// It is a Secret.
    secret: bool,
    /// It points to an entry of another store.
    reference: bool,
    /// The name of a pair (of an environment variable, a header, a parameter).
    name: Option<String>,
    /// The program of a container, for the arguments that stand apart from it.
    program: Option<String>,
}

impl About {
    /// One pass: most objects have none of these keys, and looking for each would cost more than all else.
    fn of(entries: &Map<String, Value>) -> Self {
        let mut about = Self::default();
        let (mut pair, mut args, mut program) = (false, false, None);
        // The first of [`NAMES`] that there is.
        let mut name: Option<(usize, &str)> = None;
        for (key, entry) in entries {
            match key.as_str() {
                "kind" => {
                    about.secret = entry.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("secret"));
                }
                "remoteRef" | "secretKeyRef" => about.reference = true,
                "args" => args = true,
                "command" => program = entry.as_array().and_then(|words| words.first()?.as_str()),
                key => pair |= VALUES.contains(&key),
            }
            if let Some(text) = entry.as_str()
                && let Some(rank) = NAMES.iter().position(|name| name == key)
                && name.is_none_or(|(first, _)| rank < first)
            {
                name = Some((rank, text));
            }
        }
        about.name = name.filter(|_| pair).map(|(_, text)| text.to_owned());
        about.program = program.filter(|_| args).map(str::to_owned);
        about
    }
}

/// `name=value`, of which every value is a secret.
fn literal_pairs(items: &mut [Value], take: &mut dyn FnMut(Found<'_>) -> String) {
    for item in items {
        if let Value::String(text) = item
            && let Some(equals) = text.find('=')
            && equals + 1 < text.len()
        {
            let end = text.len();
            *text = text::put(text, std::slice::from_ref(&(equals + 1..end)), &mut |secret| {
                take(Found::Text(secret))
            });
        }
    }
}

/// Lists of the names of Secrets.
fn is_list_of_names(key: &str, entry: &Value) -> bool {
    let named =
        matches!(key, "imagePullSecrets" | "pullSecrets" | "secrets" | "tokenRequests" | "extraSecrets");
    named
        && entry
            .as_array()
            .is_some_and(|items| items.iter().all(|item| item.as_str().is_some_and(crate::forms::is_name)))
}

/// Keys of the second half of a pair.
const VALUES: [&str; 6] = ["value", "Value", "values", "default", "VALUE", "stringValue"];
/// Keys of the first half.
const NAMES: [&str; 10] =
    ["name", "key", "Name", "Key", "property", "variable", "parameter", "NAME", "id", "header"];
