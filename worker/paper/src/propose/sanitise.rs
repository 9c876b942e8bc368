//! Conversions of the published rules from any text to a valid name. Each trims the text, and keeps a valid one.

/// What opens a template placeholder, the character that its inner text may not hold, and what closes it.
const PLACEHOLDERS: [(&str, char, &str); 6] = [
    ("{{", '}', "}}"),
    ("${", '}', "}"),
    ("<<", '>', ">>"),
    ("__", '_', "__"),
    ("[[", ']', "]]"),
    ("%%", '%', "%%"),
];

/// Whether a template placeholder stands anywhere in the text.
pub(super) fn has_placeholder(text: &str) -> bool {
    PLACEHOLDERS.iter().any(|(open, end, close)| {
        let mut rest = text;
        while let Some(at) = rest.find(open) {
            let inner = &rest[at + open.len()..];
            if inner.find(*end).is_some_and(|length| length > 0 && inner[length..].starts_with(close)) {
                return true;
            }
            // A placeholder may begin inside what looked like an opening.
            rest = &rest[at + 1..];
        }
        false
    })
}

fn is_edge(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// A DNS label of any length.
fn is_dns_label(text: &str) -> bool {
    text.starts_with(is_edge) && text.ends_with(is_edge) && text.chars().all(|c| is_edge(c) || c == '-')
}

/// Lower case, every run of characters other than letters, digits and those of `keep` becomes one `filler`, and runs
/// of the filler become one.
fn squeeze(text: &str, keep: &str, filler: char) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for c in text.to_lowercase().chars() {
        let c = if is_edge(c) || keep.contains(c) { c } else { filler };
        if c != filler || !squeezed.ends_with(filler) {
            squeezed.push(c);
        }
    }
    squeezed
}

fn cut(text: &str, length: usize) -> &str {
    text.char_indices().nth(length).map_or(text, |(at, _)| &text[..at])
}

pub(super) fn dns_label(text: &str, default: &str) -> String {
    let text = text.trim();
    if is_dns_label(text) && !has_placeholder(text) {
        return text.to_owned();
    }
    let squeezed = squeeze(text, "-", '-');
    let label = cut(squeezed.trim_matches('-'), 63).trim_matches('-');
    if is_dns_label(label) { label.to_owned() } else { default.to_owned() }
}

pub(super) fn dns_subdomain(text: &str, default: &str) -> String {
    let text = text.trim();
    if text.split('.').all(is_dns_label) && !has_placeholder(text) {
        return text.to_owned();
    }
    let squeezed = squeeze(text, ".-", '-');
    let parts: Vec<&str> = squeezed
        .trim_matches(['.', '-'])
        .split('.')
        .map(|part| cut(part.trim_matches('-'), 63))
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() { default.to_owned() } else { cut(&parts.join("."), 253).to_owned() }
}

/// A `generateName`: a DNS label and a `-`.
pub(super) fn generate_name(text: &str) -> String {
    let text = text.trim();
    if text.strip_suffix('-').is_some_and(is_dns_label) && !has_placeholder(text) {
        return text.to_owned();
    }
    let label = dns_label(text.trim_end_matches('-'), "placeholder");
    format!("{}-", cut(&label, 62))
}

/// A label value as the published run saw it: a DNS label; an empty one is left alone.
pub(super) fn label_value(text: &str) -> String {
    if text.trim().is_empty() { text.to_owned() } else { dns_label(text, "placeholder") }
}

/// A key of a Secret.
pub(super) fn secret_key(text: &str) -> String {
    let text = text.trim();
    let edge = |c: char| c.is_ascii_alphanumeric();
    let legal = text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if legal && !has_placeholder(text) {
        return text.to_owned();
    }
    let squeezed = squeeze(text, "_.-", '_');
    let key = squeezed.trim_matches(['_', '.']);
    if key.is_empty() { "value".to_owned() } else { cut(key, 253).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for text in ["{{ .Values.x }}", "a${b}c", "<<x>>", "a__B__", "___b__", "[[x]]", "%%x%%"] {
            assert!(has_placeholder(text), "{text}");
        }
        for text in ["{{}}", "{{a}", "a__b", "__a_b__", "$x", "[x]"] {
            assert!(!has_placeholder(text), "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(dns_label("Nightly_Job", "x"), "nightly-job");
        assert_eq!(dns_label("16.1.0", "x"), "16-1-0");
        assert_eq!(dns_label("__", "x"), "x");
        assert_eq!(dns_label(&"a".repeat(70), "x").len(), 70, "a legal text is not measured");
        assert_eq!(dns_label(&"A".repeat(70), "x").len(), 63);
        assert_eq!(dns_subdomain(" A_b..C ", "x"), "a-b.c");
        assert_eq!(dns_subdomain("...", "x"), "x");
        assert_eq!(generate_name("Job_"), "job-");
        assert_eq!(generate_name("a-"), "a-");
        assert_eq!((label_value("").as_str(), label_value("Helm").as_str()), ("", "helm"));
        assert_eq!(secret_key("My key!"), "my_key");
        assert_eq!(secret_key("tls.crt"), "tls.crt");
    }
}
