//! Which model answered, as far as the reply discloses it.

/// What the model name in a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedModel<'a> {
    /// Nothing: it is empty, or the requested name again, which a server repeats whatever it runs.
    NotDisclosed,
    /// The requested model, by a name that says more: a dated snapshot, or a prefix of a router.
    Same(&'a str),
    /// Another model.
    Other(&'a str),
}

/// Words that a provider appends to the name of a model without making it another model.
const SAME: [&str; 10] =
    ["latest", "preview", "beta", "exp", "experimental", "snapshot", "stable", "free", "nitro", "maas"];

/// What stands between a name and what is appended to it.
const SEPARATORS: [char; 4] = ['-', '@', ':', '_'];

/// Shortest number that is a snapshot (`0613`, `001`) and no version.
const SNAPSHOT_DIGITS: usize = 3;

impl<'a> ServedModel<'a> {
    /// What the name in a reply says of a request for `requested`.
    pub fn of(requested: &str, served: &'a str) -> Self {
        let (requested, served) = (requested.trim(), served.trim());
        if served.is_empty() || served == requested {
            return Self::NotDisclosed;
        }
        let lower = |name: &str| bare(name).to_ascii_lowercase();
        let (asked, answered) = (lower(requested), lower(served));
        let asked = asked.strip_suffix("-latest").unwrap_or(&asked);
        match answered.strip_prefix(asked) {
            Some(rest) if !asked.is_empty() && is_snapshot(rest) => Self::Same(served),
            _ => Self::Other(served),
        }
    }

    /// The name of the model that answered; `None`: it is not disclosed.
    pub const fn name(self) -> Option<&'a str> {
        match self {
            Self::NotDisclosed => None,
            Self::Same(name) | Self::Other(name) => Some(name),
        }
    }
}

/// A name without the prefixes of routers and folders, such as `openai/` and `models/`.
fn bare(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, bare)| bare)
}

/// Whether what follows the name of a model names a snapshot of it: dates, numbers of at least three digits in all, and words
/// that make no other model. `gpt-4o-mini` is not a snapshot of `gpt-4o`, nor `grok-4.3` one of `grok-4`.
fn is_snapshot(rest: &str) -> bool {
    if rest.is_empty() {
        return true;
    }
    let Some(appended) = rest.strip_prefix(SEPARATORS) else { return false };
    let mut digits = 0;
    for word in appended.split(SEPARATORS) {
        if !word.is_empty() && word.chars().all(|c| c.is_ascii_digit()) {
            digits += word.len();
        } else if !SAME.contains(&word) {
            return false;
        }
    }
    digits == 0 || digits >= SNAPSHOT_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_and_a_routed_name_are_the_same_model() {
        for (requested, served) in [
            ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
            ("grok-4", "grok-4-0709"),
            ("grok-4.3", "xai/grok-4.3"),
            ("grok-4.3", "xai/grok-4.3-20260514"),
            ("openai/gpt-4o", "gpt-4o-2024-08-06"),
            ("openai/gpt-4o", "azure/openai/gpt-4o"),
            ("grok-4-latest", "grok-4-0709"),
            ("gemini-1.5-flash", "models/gemini-1.5-flash-001"),
            ("claude-x", "claude-x@20250929"),
            ("m", "m:free"),
            ("Mock", "mock-preview-0101"),
        ] {
            assert_eq!(ServedModel::of(requested, served), ServedModel::Same(served), "{requested} {served}");
        }
    }

    #[test]
    fn another_model_is_another_however_its_name_begins() {
        for (requested, served) in [
            ("grok-4-fast-reasoning", "grok-4.3"),
            ("grok-4", "grok-4.3"),
            ("gpt-4o", "gpt-4o-mini"),
            ("gpt-4", "gpt-4o"),
            ("gpt-4", "gpt-4-1"),
            ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
            ("a/b", "b2"),
            ("", "b"),
        ] {
            assert_eq!(
                ServedModel::of(requested, served),
                ServedModel::Other(served),
                "{requested} {served}"
            );
        }
    }

    #[test]
    fn an_empty_or_repeated_name_discloses_nothing() {
        for served in ["", " ", "grok-4.3"] {
            assert_eq!(ServedModel::of("grok-4.3", served).name(), None, "{served:?}");
        }
        assert_eq!(ServedModel::of("a", "b").name(), Some("b"));
    }
}
