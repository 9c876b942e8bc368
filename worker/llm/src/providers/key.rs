//! What a variable may hold in place of a key: the usual mistakes of copying, told apart so that a message can name them.

use std::fmt;

/// Why what a variable holds is not a key alone. The text never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// It begins with a byte order mark.
    Mark,
    /// It stands in quotes, or one of them is left.
    Quotes,
    /// It begins with the word before the key.
    Scheme,
    /// It begins with the name of the variable.
    Assignment,
    /// It stands for a key that was never put in its place.
    Placeholder,
    /// There is a blank in it.
    Blank,
    /// There is a line break in it.
    Line,
    /// It has a character that is not valid in a key.
    Character,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mark => "begins with a byte order mark (U+FEFF), which a file in \"UTF-8 with BOM\" has",
            Self::Quotes => "holds quotes around the key",
            Self::Scheme => {
                "holds the word before the key as well (as in `Bearer KEY`), which is sent anyway"
            }
            Self::Assignment => "holds its own name and a sign before the key (as in `NAME=KEY`)",
            Self::Placeholder => "holds a placeholder in place of the key",
            Self::Blank => "holds a blank within the key",
            Self::Line => "holds a line break within the key",
            Self::Character => "holds characters that are not valid in a key",
        })
    }
}

/// The fault of a key, from which blanks at both ends were cut; `None`: it may be one.
pub(super) fn fault(key: &str, variable: &str, scheme: &str) -> Option<KeyFault> {
    let begins_with = |word: &str| {
        key.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
            && key.get(word.len()..).is_some_and(|rest| rest.starts_with([' ', '\t', ':']))
    };
    let name = key.strip_prefix("export ").unwrap_or(key).strip_prefix(variable);
    if key.contains('\u{feff}') {
        Some(KeyFault::Mark)
    } else if key.starts_with(['"', '\'', '`', '\u{201c}', '\u{2018}'])
        || key.ends_with(['"', '\'', '`', '\u{201d}', '\u{2019}'])
    {
        Some(KeyFault::Quotes)
    } else if begins_with("Bearer")
        || (!scheme.is_empty() && begins_with(scheme))
        || begins_with("Authorization")
    {
        Some(KeyFault::Scheme)
    } else if name.is_some_and(|rest| rest.trim_start().starts_with(['=', ':'])) {
        Some(KeyFault::Assignment)
    } else if is_placeholder(key, variable) {
        Some(KeyFault::Placeholder)
    } else if key.contains(['\n', '\r']) {
        Some(KeyFault::Line)
    } else if key.contains(char::is_whitespace) {
        Some(KeyFault::Blank)
    } else if !key.chars().all(|c| c.is_ascii_graphic()) {
        Some(KeyFault::Character)
    } else {
        None
    }
}

/// What templates and examples hold where the key should be, in letters and digits alone. Each is too long to stand in a key by
/// chance.
const STAND_INS: [&str; 13] = [
    "apikeyhere",
    "changeme",
    "entertoken",
    "enteryour",
    "insertkey",
    "insertyour",
    "placeholder",
    "replaceme",
    "replacewith",
    "yourapikey",
    "yourkeyhere",
    "yoursecret",
    "yourtoken",
];

/// Beginnings and ends of what a template or a shell puts a value into.
const MARKS: [(&str, &str); 9] = [
    ("${", "}"),
    ("$(", ")"),
    ("$", ""),
    ("{{", "}}"),
    ("<", ">"),
    ("[", "]"),
    ("%", "%"),
    ("__", "__"),
    ("@", "@"),
];

/// Whether it only stands for a key. Short words such as `test` are none: servers of one's own take any key.
fn is_placeholder(key: &str, variable: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let letters: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    let of_name: String = variable.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let is_marked = MARKS.iter().any(|(begin, end)| {
        key.len() > begin.len() + end.len() && key.starts_with(begin) && key.ends_with(end)
    });
    // `xai-xxxxxxxx`, `sk-...`, `********`.
    let is_filler = |part: &str| {
        let length = part.chars().count();
        part.contains('\u{2026}') || (length >= 3 && part.chars().all(|c| matches!(c, 'x' | '*' | '.')))
    };
    is_marked
        || (!of_name.is_empty() && letters == of_name)
        || matches!(letters.as_str(), "apikey" | "yourkey" | "null" | "undefined" | "todo")
        || STAND_INS.iter().any(|word| letters.contains(word))
        || lower.rsplit(['-', '_']).next().is_some_and(is_filler)
}
