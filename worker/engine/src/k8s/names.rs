//! Names and label values as the API server accepts them
//! (Kubernetes documentation, *Object Names and IDs*, *Labels and Selectors*).

/// Whether `text` is a DNS label (RFC 1123): at most 63 of `[a-z0-9-]`, a letter or digit at both ends.
pub fn is_dns_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Whether `text` is a DNS subdomain (RFC 1123): DNS labels joined by dots, at most 253 characters.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && !text.is_empty() && text.split('.').all(is_dns_label_of_any_length)
}

fn is_dns_label_of_any_length(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Whether `text` is a label value: at most 63 of `[A-Za-z0-9_.-]`, a letter or digit at both ends; may be empty.
pub fn is_label_value(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Whether `text` is the key of a label: at most 63 of `[A-Za-z0-9_.-]`, a letter or digit at both ends, behind an optional
/// prefix that is a DNS subdomain and a slash.
pub fn is_label_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Whether `text` is a port name (IANA service name): at most 15 of `[a-z0-9-]`, at least one letter, no `--`,
/// no `-` at either end.
pub fn is_port_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && text.chars().any(|c| c.is_ascii_lowercase())
        && !text.contains("--")
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The longest DNS label that resembles `text`; `None` when nothing of it can be kept.
pub fn to_dns_label(text: &str) -> Option<String> {
    let mut label = String::new();
    for c in text.trim().chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(63);
    let label = label.trim_end_matches('-').to_owned();
    (!label.is_empty()).then_some(label)
}

/// The first placeholder of a template that was never rendered: `{{…}}`, `${…}`, `$(…)`, `$NAME`, `<…>`, `<<…>>`, `<%…%>`,
/// `__…__`, `[[…]]`, `%%…%%` or `||…||`, or Helm's stand-in for a release without a name, `RELEASE-NAME`. Meant for places
/// where these characters are not legal; elsewhere they may well be what the user means.
pub fn placeholder(text: &str) -> Option<&str> {
    const PAIRS: [(&str, &str); 10] = [
        ("{{", "}}"),
        ("${", "}"),
        ("$(", ")"),
        ("<<", ">>"),
        ("<%", "%>"),
        ("<", ">"),
        ("__", "__"),
        ("[[", "]]"),
        ("%%", "%%"),
        ("||", "||"),
    ];
    let paired = PAIRS.iter().find_map(|(open, close)| {
        let found = &text[text.find(open)?..];
        let length = found[open.len()..].find(close).filter(|length| *length > 0)?;
        Some(&found[..open.len() + length + close.len()])
    });
    paired.or_else(|| variable(text)).or_else(|| {
        let at = text.find(UNNAMED_RELEASE)?;
        text.get(at..at + UNNAMED_RELEASE.len())
    })
}

/// What `helm template` writes for a release that was given no name; no legal name has capitals.
const UNNAMED_RELEASE: &str = "RELEASE-NAME";

/// `$NAME` anywhere in `text`.
fn variable(text: &str) -> Option<&str> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('$').find_map(|(at, _)| {
        let name = &text[at + 1..];
        let length = name.find(|c| !named(c)).unwrap_or(name.len());
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        begins.then(|| &text[at..at + 1 + length])
    })
}

/// Whether `text` holds a [`placeholder`].
pub fn has_placeholder(text: &str) -> bool {
    placeholder(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        assert!(
            is_dns_label("a-1")
                && !is_dns_label("A")
                && !is_dns_label("-a")
                && !is_dns_label(&"a".repeat(64))
        );
        assert!(is_dns_subdomain("a.b-c") && !is_dns_subdomain("a..b") && !is_dns_subdomain(""));
        assert!(
            is_label_value("") && is_label_value("A.b_c") && !is_label_value("-a") && !is_label_value("a b")
        );
        assert!(
            is_port_name("http-2") && !is_port_name("80") && !is_port_name("a--b") && !is_port_name("Http")
        );
        assert_eq!(to_dns_label(" Nightly_Job!"), Some("nightly-job".into()));
        assert_eq!(to_dns_label("__"), None);
    }

    #[test]
    fn placeholders() {
        for text in [
            "{{ .Values.x }}",
            "a-${X}",
            "a-$(X)",
            "<<name>>",
            "__NAME__",
            "$ITEM",
            "%%x%%",
            "[[x]]",
            "||X||",
        ] {
            assert!(has_placeholder(text), "{text}");
        }
        for text in ["{{}}", "a__b", "$", "$1.00 off", "x", "$()", "[[]]"] {
            assert!(!has_placeholder(text), "{text}");
        }
        assert_eq!(placeholder("a-${X}-${Y}"), Some("${X}"));
        assert_eq!(placeholder("gcr.io/<project>/x"), Some("<project>"));
        assert_eq!(placeholder("RELEASE-NAME-core"), Some("RELEASE-NAME"));
        assert_eq!(placeholder("<%= host %>:1"), Some("<%= host %>"));
        assert_eq!(placeholder("gcr.io/$PROJECT_ID/x"), Some("$PROJECT_ID"));
        assert_eq!(placeholder("reg/{{ .a }}:1"), Some("{{ .a }}"));
    }
}
