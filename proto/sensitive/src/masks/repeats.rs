//! Finds secrets where they are repeated as whole words, in linear time for any number of secrets.

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

/// A secret of this length that is not a word is found inside longer words as well.
const INSIDE: usize = 8;
/// A shorter one must stand between blanks, quotes or separators of pairs.
const SHORT: usize = 4;
/// Digits from which on a number is looked for where numbers are usual: no port has as many.
pub(super) const LONG_NUMBER: usize = 6;

/// What must stand around a repeated secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Border {
    /// Anything.
    None,
    /// No letter and no digit.
    Word,
    /// A blank, a quote, a separator.
    Separator,
}

/// Secrets that are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Repeats {
    automaton: Option<AhoCorasick>,
    borders: Vec<Border>,
    /// Those that are not plain words, for places where words identify things.
    distinct: Option<Box<Repeats>>,
}

impl Repeats {
    pub(crate) fn new(secrets: impl Iterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.collect();
        secrets.sort();
        secrets.dedup();
        let (plain, distinct): (Vec<_>, Vec<_>) =
            secrets.iter().cloned().partition(|secret| is_plain(secret));
        let mut repeats = Self::of(&secrets);
        repeats.distinct = if plain.is_empty() { None } else { Some(Box::new(Self::of(&distinct))) };
        repeats
    }

    fn of(secrets: &[String]) -> Self {
        let border = |secret: &String| match secret.len() {
            INSIDE.. if !is_plain(secret) => Border::None,
            SHORT.. => Border::Word,
            _ => Border::Separator,
        };
        let builder = |patterns: &[String]| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .start_kind(StartKind::Both)
                .build(patterns)
                .ok()
        };
        let automaton = if secrets.is_empty() { None } else { builder(secrets) };
        Self { automaton, borders: secrets.iter().map(border).collect(), distinct: None }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.borders.is_empty()
    }

    /// Those that are not plain words; `None`: there are none.
    pub(crate) fn distinct(&self) -> Option<&Self> {
        let distinct = self.distinct.as_deref().unwrap_or(self);
        (!distinct.is_empty()).then_some(distinct)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.automaton.as_ref().is_some_and(|automaton| automaton.is_match(text))
    }

    /// `text` with what `sign` returns in place of every secret.
    pub(crate) fn replace(&self, text: &str, sign: &mut dyn FnMut(&str) -> String) -> String {
        let Some(automaton) = &self.automaton else { return text.to_owned() };
        let mut shown = String::with_capacity(text.len());
        let (mut copied, mut from) = (0, 0);
        while let Some(found) = automaton.find(Input::new(text).span(from..text.len())) {
            match self.whole(automaton, text, found) {
                Some((start, end)) => {
                    shown.push_str(text.get(copied..start).unwrap_or_default());
                    shown.push_str(&sign(text.get(start..end).unwrap_or_default()));
                    (copied, from) = (end, end);
                }
                // The next place where a word can begin.
                None => from = next_border(text, found.start()),
            }
        }
        shown.push_str(text.get(copied..).unwrap_or_default());
        shown
    }

    /// The longest secret at the place of `found` that stands there as a whole word.
    fn whole(
        &self,
        automaton: &AhoCorasick,
        text: &str,
        found: aho_corasick::Match,
    ) -> Option<(usize, usize)> {
        let mut found = Some(found);
        while let Some(one) = found {
            let border = self.borders.get(one.pattern().as_usize()).copied().unwrap_or(Border::Word);
            if stands(text, one.start(), one.end(), border) {
                return Some((one.start(), one.end()));
            }
            let shorter = Input::new(text).span(one.start()..one.end() - 1).anchored(Anchored::Yes);
            found = automaton.find(shorter);
        }
        None
    }
}

fn stands(text: &str, start: usize, end: usize, border: Border) -> bool {
    let inside = text.get(start..end).unwrap_or_default();
    let before = text.get(..start).and_then(|before| before.chars().next_back());
    let after = text.get(end..).and_then(|after| after.chars().next());
    let apart = |own: Option<char>, other: Option<char>| match (border, other) {
        (Border::None, _) | (_, None) => true,
        (Border::Word, Some(other)) => !(other.is_alphanumeric() && own.is_some_and(char::is_alphanumeric)),
        (Border::Separator, Some(other)) => other.is_whitespace() || "\"'`=:,;@&()[]{}<>|/".contains(other),
    };
    apart(inside.chars().next(), before) && apart(inside.chars().next_back(), after)
}

/// The first place behind `at` where what stands before it is not a part of the same word.
fn next_border(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let mut chars = rest.char_indices();
    let first = chars.next().map_or(' ', |(_, c)| c);
    let mut before = first;
    for (offset, c) in chars {
        if !(before.is_alphanumeric() && c.is_alphanumeric()) {
            return at + offset;
        }
        before = c;
    }
    text.len()
}

/// A word that may stand anywhere for another reason (`postgres`, `admin`, a port).
pub(super) fn is_plain(secret: &str) -> bool {
    let letters = secret.bytes().all(|byte| byte.is_ascii_alphabetic()) && crate::forms::is_word(secret);
    let number = secret.len() < LONG_NUMBER && secret.bytes().all(|byte| byte.is_ascii_digit());
    letters && secret.len() <= 16 || number || secret.len() < 3
}

/// Fields whose values name or classify things.
pub(super) fn is_identity(name: &str) -> bool {
    const FIELDS: [&str; 48] = [
        "apiVersion",
        "kind",
        "name",
        "generateName",
        "namespace",
        "image",
        "serviceAccountName",
        "serviceAccount",
        "nodeName",
        "storageClassName",
        "ingressClassName",
        "host",
        "hosts",
        "hostname",
        "subdomain",
        "serviceName",
        "claimName",
        "volumeName",
        "mountPath",
        "subPath",
        "path",
        "protocol",
        "type",
        "containerName",
        "port",
        "targetPort",
        "containerPort",
        "hostPort",
        "portName",
        "restartPolicy",
        "imagePullPolicy",
        "key",
        "secretName",
        "labels",
        "matchLabels",
        "selector",
        "nodeSelector",
        "operator",
        "group",
        "resource",
        "resources",
        "verbs",
        "apiGroups",
        "roleRef",
        "subjects",
        "concurrencyPolicy",
        "schedulerName",
        "clusterName",
    ];
    FIELDS.contains(&name) || crate::names::identifies(name)
}

/// Maps whose keys and values the author chose to identify things.
pub(super) fn is_free(name: &str) -> bool {
    matches!(name, "labels" | "matchLabels" | "selector" | "nodeSelector" | "roleRef")
}
