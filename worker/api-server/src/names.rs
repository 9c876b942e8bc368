//! Names that documents give, and whether they can be used.

/// Whether a name can stand in a path.
pub(crate) fn is_segment(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '%']) && name != "." && name != ".."
}

/// An RFC 1123 label, as namespaces are named.
pub(crate) fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_namespaces_are_labels() {
        assert!(is_label("kube-system") && is_label("a") && is_label("1"));
        assert!(
            !is_label("")
                && !is_label("-a")
                && !is_label("a.b")
                && !is_label("A")
                && !is_label(&"a".repeat(64))
        );
        assert!(!is_segment("a/b") && !is_segment("..") && !is_segment("") && is_segment("{{ .ns }}"));
    }
}
