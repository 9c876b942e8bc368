//! The rule on image tags.

use serde_json::Value;

use super::super::ops::Ops;
use super::super::walk::containers;

/// What took the place of a missing image.
const FALLBACK: &str = "busybox:stable";

pub(crate) fn no_latest_tag(document: &Value, out: &mut Ops) {
    for container in containers(document) {
        let Some(image) = container.fields.get("image").and_then(Value::as_str) else {
            out.set(Some(container.fields), &container.at, "image", FALLBACK);
            continue;
        };
        if let Some(image) = pinned(image.trim()) {
            out.replace(container.at.child("image"), image);
        }
    }
}

/// The image with the tag `stable` where it has `latest` or none; nothing where it has another tag or a digest.
fn pinned(image: &str) -> Option<String> {
    if image.is_empty() {
        return Some(FALLBACK.to_owned());
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    if !last.contains(':') {
        return Some(format!("{image}:stable"));
    }
    image.strip_suffix(":latest").map(|name| format!("{name}:stable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let pinned = |image| pinned(image).unwrap_or_default();
        assert_eq!(pinned("reg:5000/x:latest"), "reg:5000/x:stable");
        assert_eq!(pinned("reg:5000/y"), "reg:5000/y:stable");
        assert_eq!(pinned(""), "busybox:stable");
        assert_eq!(pinned("x@sha256:0"), "");
        assert_eq!(pinned("x:1"), "");
    }
}
