//! Corrections where the server's validation differs from the published `required` lists, for kinds without rules of
//! their own.
//!
//! The lists are derived from Go field tags. A field without `omitempty` is published as required although the server takes
//! its zero value.

/// Published as required, but the server accepts its absence.
const OPTIONAL: &[(&str, &str)] = &[
    // Defaulted to an empty reference, which is legal in the namespace `default`.
    ("core.v1.Event", "involvedObject"),
];

/// Whether a field must be there; `definition` is the published name, with its Go package in front.
pub(super) fn is_required(definition: &str, field: &str, published: bool) -> bool {
    let listed = OPTIONAL.iter().any(|(name, listed)| *listed == field && is_suffix(definition, name));
    published && !listed
}

/// Whether `definition` ends in `name`, at a dot.
fn is_suffix(definition: &str, name: &str) -> bool {
    definition.strip_suffix(name).is_some_and(|package| package.ends_with('.'))
}

#[cfg(test)]
pub(super) fn optional() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPTIONAL.iter().copied()
}
