//! Which files are manifests, by their names.

use std::path::Path;

pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

pub(super) fn is_manifest(path: &Path) -> bool {
    is_yaml(path) || path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"))
}
