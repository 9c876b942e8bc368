//! Names of files: which are manifests, and how long they may be.

use std::path::Path;

/// Longest path of a file in bytes: that of Linux (`PATH_MAX`).
pub(crate) const NAME_BYTES: usize = 4096;

/// Characters that are kept of a name that is too long.
const KEPT: usize = 120;

pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

pub(super) fn is_manifest(path: &Path) -> bool {
    is_yaml(path) || path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"))
}

/// The beginning of a name that is too long; `mark` tells it from others that begin alike.
pub(crate) fn shortened(name: &str, mark: u64) -> String {
    format!("{}…({mark})", name.chars().take(KEPT).collect::<String>())
}
